// SPDX-License-Identifier: Apache-2.0

/// The users or groups of this machine, as passwd(5) or group(5) lists them: lines that begin with
/// `name:password:number:`.
///
/// getpwnam(3) and getgrnam(3) are not used: in a static program they load shared libraries of the machine, and fail or
/// crash where these are of another version. So a user or group that only a directory service knows has no name here.
package struct AccountFile: Sendable {
    private let text: String

    /// Holds the content of such a file.
    package init(_ text: String) { self.text = text }

    /// Reads a file, such as /etc/group. A file that cannot be read lists no name.
    package init(at path: String) { self.init((try? readWhole(path)) ?? "") }

    /// The number of a name; nil when no line has that name.
    package func number(of name: String) -> UInt32? {
        if name.isEmpty { return nil }
        for line in text.split(separator: "\n") {
            let fields = line.split(separator: ":", omittingEmptySubsequences: false)
            if fields.count >= 3, fields[0] == name, let number = UInt32(fields[2]) { return number }
        }
        return nil
    }
}
