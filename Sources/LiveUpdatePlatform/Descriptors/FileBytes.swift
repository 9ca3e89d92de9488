// SPDX-License-Identifier: Apache-2.0
import Glibc
package import SystemPackage

extension FileDescriptor {
    /// Reads bytes of a file without moving the offset: pread(2). At the end of the file there are fewer than `count`.
    /// If the file is truncated meanwhile, the result is shorter; a mapping would cause a SIGBUS.
    ///
    /// - Throws: EISDIR, ESPIPE, EINVAL for an offset beyond 2^63, and other errors of pread(2).
    package func bytes(at offset: UInt64, count: Int) throws(SystemCallError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var done = 0
        // SAFETY: pread writes no more bytes than remain in the array.
        try unsafe bytes.withUnsafeMutableBufferPointer { (buffer) throws(SystemCallError) in
            while done < count, let start = buffer.baseAddress {
                let at = off_t(truncatingIfNeeded: offset &+ UInt64(done))
                let read = try systemCall("pread") { unsafe Glibc.pread(rawValue, start + done, count - done, at) }
                if read == 0 { return }
                done += read
            }
        }
        bytes.removeLast(count - done)
        return bytes
    }
}

extension FileDescriptor {
    /// Writes all bytes at the offset of the file: write(2).
    ///
    /// - Throws: ENOSPC and other errors of write(2).
    package func writeWhole(_ bytes: [UInt8]) throws(SystemCallError) {
        var done = 0
        while done < bytes.count {
            done += try systemCall("write") {
                // SAFETY: write reads only the bytes that remain in the array.
                unsafe bytes.withUnsafeBytes {
                    unsafe Glibc.write(rawValue, $0.baseAddress! + done, bytes.count - done)
                }
            }
        }
    }

    /// Whether there are bytes to read, or the end is reached, within the given time: poll(2).
    package func isReadable(within milliseconds: CInt) -> Bool { waits(for: POLLIN, milliseconds) }

    /// Whether there is room to write, or the reader has closed, within the given time: poll(2).
    package func hasRoom(within milliseconds: CInt) -> Bool { waits(for: POLLOUT, milliseconds) }

    private func waits(for event: CInt, _ milliseconds: CInt) -> Bool {
        var event = pollfd(fd: rawValue, events: Int16(event), revents: 0)
        while true {
            let ready = unsafe poll(&event, 1, milliseconds)
            if ready == -1, errno == EINTR { continue }
            return ready > 0
        }
    }
}
