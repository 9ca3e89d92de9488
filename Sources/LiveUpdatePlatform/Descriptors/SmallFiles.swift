// SPDX-License-Identifier: Apache-2.0
import Glibc
import SystemPackage

/// The names in a directory.
///
/// - Throws: ENOENT, EACCES, ENOTDIR.
package func directoryEntries(_ path: String) throws(SystemCallError) -> [String] {
    var opened: OpaquePointer?
    try systemCall("opendir") {
        unsafe opened = opendir(path)
        return unsafe opened == nil ? -1 : 0
    }
    guard let directory = unsafe opened else { return [] }
    defer { unsafe closedir(directory) }
    var names: [String] = []
    while let entry = unsafe readdir(directory) {
        // SAFETY: readdir ends the name with a NUL inside d_name.
        unsafe withUnsafePointer(to: &entry.pointee.d_name) { pointer in
            unsafe pointer.withMemoryRebound(to: CChar.self, capacity: 256) { name in
                unsafe names.append(String(cString: name))
            }
        }
    }
    return names
}

/// The result of `body`; nil when a file that it needs does not exist.
///
/// - Throws: the errors of `body`, except ENOENT.
func ifThere<Value>(_ body: () throws(SystemCallError) -> Value) throws(SystemCallError) -> Value? {
    do throws(SystemCallError) {
        return try body()
    } catch {
        if error.errno == .noSuchFileOrDirectory { return nil }
        throw error
    }
}

/// The text of a small file, by one read(2).
///
/// - Throws: the errors of read(2).
func readText(_ file: FileDescriptor, atMost room: Int) throws(SystemCallError) -> String {
    var bytes = [UInt8](repeating: 0, count: room)
    // SAFETY: read writes no more bytes than the array has.
    let count = try unsafe bytes.withUnsafeMutableBufferPointer { (buffer) throws(SystemCallError) in
        try systemCall("read") { unsafe read(file.rawValue, buffer.baseAddress, room) }
    }
    return String(decoding: bytes.prefix(count), as: UTF8.self)
}

/// The first 128 bytes of a small file, as text.
///
/// - Throws: ENOENT, EACCES, and the errors of read(2).
package func readBeginning(_ path: String) throws(SystemCallError) -> String {
    let file = try openFile(path)
    return try readText(file.borrowed, atMost: 128)
}

/// The number in a file of sysfs or procfs.
///
/// - Throws: ENOENT, EACCES; EINVAL when the file holds no number.
package func readNumber(_ path: String) throws(SystemCallError) -> UInt64 {
    let file = try openFile(path)
    let text = try readText(file.borrowed, atMost: 32)
    guard let number = UInt64(text.prefix { $0.isNumber }) else { throw SystemCallError("read", .invalidArgument) }
    return number
}

/// Writes one number into a file of sysfs or procfs.
///
/// - Throws: ENOENT, EACCES, EPERM, and the errors of the file itself.
func writeNumber(_ number: UInt64, to path: String) throws(SystemCallError) {
    let opened = try systemCall("open") { unsafe open(path, O_WRONLY | O_CLOEXEC) }
    let file = OwnedDescriptor(taking: FileDescriptor(rawValue: opened))
    let text = "\(number)\n"
    try systemCall("write") { unsafe write(file.borrowed.rawValue, text, text.utf8.count) }
}

/// The text of a file whose size the kernel does not report, such as those of procfs.
///
/// - Throws: ENOENT, EACCES, and the errors of read(2).
package func readWhole(_ path: String) throws(SystemCallError) -> String {
    String(decoding: try readBytes(path), as: UTF8.self)
}

/// The bytes of a small file, which need not be UTF-8.
///
/// - Throws: ENOENT, EACCES, and the errors of read(2).
package func readBytes(_ path: String) throws(SystemCallError) -> [UInt8] {
    let file = try openFile(path)
    return try readBytes(file.borrowed)
}

/// The bytes of an open file, from its offset on.
///
/// - Throws: the errors of read(2).
func readBytes(_ file: FileDescriptor) throws(SystemCallError) -> [UInt8] {
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 64 << 10)
    while true {
        // SAFETY: read writes no more bytes than the array has.
        let count = try unsafe chunk.withUnsafeMutableBufferPointer { (buffer) throws(SystemCallError) in
            try systemCall("read") { unsafe read(file.rawValue, buffer.baseAddress, buffer.count) }
        }
        if count == 0 { return bytes }
        bytes += chunk.prefix(count)
    }
}

/// The first bytes of a file, or of a disk; fewer at its end.
///
/// - Throws: ENOENT, EACCES, and the errors of read(2).
package func readBeginning(_ path: String, _ count: Int) throws(SystemCallError) -> [UInt8] {
    let file = try openFile(path)
    var bytes = [UInt8](repeating: 0, count: count)
    // SAFETY: read writes no more bytes than the array has.
    let got = try unsafe bytes.withUnsafeMutableBufferPointer { (buffer) throws(SystemCallError) in
        try systemCall("read") { unsafe read(file.borrowed.rawValue, buffer.baseAddress, buffer.count) }
    }
    return Array(bytes.prefix(got))
}

/// The target of a symbolic link: readlink(2). The target of a link in /proc/PID/fd need not be a path.
///
/// - Throws: ENOENT, EACCES, EINVAL when the file is no link.
package func linkTarget(_ path: String) throws(SystemCallError) -> String {
    String(decoding: try linkBytes(path), as: UTF8.self)
}

/// The bytes of a symbolic link's target, as ``linkTarget(_:)``: a path need not be UTF-8.
func linkBytes(_ path: String) throws(SystemCallError) -> [UInt8] {
    var name = [CChar](repeating: 0, count: Int(PATH_MAX))
    let count = try systemCall("readlink") { unsafe readlink(path, &name, name.count) }
    return name.prefix(count).map { UInt8(bitPattern: $0) }
}

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

    /// The first name of a number; nil when no line has that number.
    package func name(of number: UInt32) -> String? {
        for line in text.split(separator: "\n") {
            let fields = line.split(separator: ":", omittingEmptySubsequences: false)
            if fields.count >= 3, UInt32(fields[2]) == number { return String(fields[0]) }
        }
        return nil
    }

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
