import CShims
public import SystemPackage

extension Errno {
    /// Its name as errno(3) has it, `ENOENT`, or its number when it has none: strerrorname_np(3).
    public var symbol: String {
        unsafe cshims_errno_name(rawValue).map { unsafe String(cString: $0) } ?? "errno \(rawValue)"
    }
}
