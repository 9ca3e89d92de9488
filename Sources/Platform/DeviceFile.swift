import CShims
import Glibc
public import SystemPackage

/// open(2), for reading and writing, and closed on exec: of a device, or of a file that others are to write to later.
///
/// - Throws: ENOENT EACCES, EBUSY of a device that opens once at a time, and what else open(2) lists.
public func openForWriting(_ path: String) throws(SystemCallError) -> OwnedDescriptor {
    let number = try systemCall("open") { unsafe Glibc.open(path, O_RDWR | O_CLOEXEC) }
    return OwnedDescriptor(taking: FileDescriptor(rawValue: number))
}

extension FileDescriptor {
    /// A call on a device, with a struct that it reads and writes: ioctl(2).
    ///
    /// - Parameters:
    ///   - command: as the device's header has it.
    ///   - argument: must be as long as the device expects for that command.
    /// - Throws: ENOTTY when it does not know the command, and what the device answers.
    public func control(_ command: UInt32, _ argument: inout [UInt8]) throws(SystemCallError) {
        try systemCall("ioctl") {
            // SAFETY: the device reads and writes at most the size that stands at the struct's beginning, which is the array's.
            unsafe argument.withUnsafeMutableBytes { unsafe cshims_ioctl(rawValue, UInt(command), $0.baseAddress) }
        }
    }
}
