import Glibc

/// Lines on standard error: what systemd and everybody else collects.
public struct Log: Sendable {
    /// Who says it.
    public let name: String

    /// Names who says it.
    public init(_ name: String) { self.name = name }

    /// One line, if anybody reads it.
    public func say(_ text: String) {
        let line = "\(name)[\(getpid())]: \(text)\n"
        _ = unsafe write(STDERR_FILENO, line, line.utf8.count)
    }
}
