import Platform

/// The groups of this machine as group(5) lists them. getgrnam(3) is not used: in a static program it loads shared
/// libraries of the machine, and fails or crashes where those are of another version. A group that only a directory
/// service knows is given by its number.
package struct GroupFile: Sendable {
    private let text: String

    /// Holds the content of a file with lines of the form `name:password:number:members`.
    package init(_ text: String) { self.text = text }

    /// The number of a group; nil when no line has that name.
    package func number(of name: String) -> UInt32? {
        for line in text.split(separator: "\n") {
            let fields = line.split(separator: ":", omittingEmptySubsequences: false)
            if fields.count >= 3, fields[0] == name, let number = UInt32(fields[2]) { return number }
        }
        return nil
    }
}

/// The number of a group of this machine; nil when /etc/group does not list it.
package func groupNumber(of name: String) -> UInt32? {
    (try? readWhole("/etc/group")).flatMap { GroupFile($0).number(of: name) }
}
