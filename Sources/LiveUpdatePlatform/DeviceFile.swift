// SPDX-License-Identifier: Apache-2.0
import CLiveUpdate
import Glibc
public import SystemPackage

/// Opens a device, or a file for later writes, for reading and writing, and closed on exec: open(2).
///
/// - Throws: ENOENT, EACCES, EBUSY for a device that can be open only once, and other errors of open(2).
public func openForWriting(_ path: String) throws(SystemCallError) -> OwnedDescriptor {
    let number = try systemCall("open") { unsafe Glibc.open(path, O_RDWR | O_CLOEXEC) }
    return OwnedDescriptor(taking: FileDescriptor(rawValue: number))
}

extension FileDescriptor {
    /// Makes a call on a device, with a struct that the device reads and writes: ioctl(2).
    ///
    /// - Parameters:
    ///   - command: the number in the device's header.
    ///   - argument: must be as long as the device expects for that command.
    /// - Throws: ENOTTY when the device does not know the command, and the errors of the device.
    public func control(_ command: UInt32, _ argument: inout [UInt8]) throws(SystemCallError) {
        try systemCall("ioctl") {
            // SAFETY: the struct begins with its size, which is that of the array. The device accesses no more bytes.
            unsafe argument.withUnsafeMutableBytes { unsafe cshims_ioctl(rawValue, UInt(command), $0.baseAddress) }
        }
    }
}
