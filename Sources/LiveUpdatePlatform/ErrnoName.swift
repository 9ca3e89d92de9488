// SPDX-License-Identifier: Apache-2.0
import CLiveUpdate
public import SystemPackage

extension Errno {
    /// The name of the error in errno(3), such as `ENOENT`, or its number when it has no name: strerrorname_np(3).
    public var symbol: String {
        unsafe cshims_errno_name(rawValue).map { unsafe String(cString: $0) } ?? "errno \(rawValue)"
    }
}
