import Glibc
public import SystemPackage

extension FileDescriptor {
    /// Bytes of a file: pread(2), which moves no offset. Fewer than `count` at the file's end; a file that is cut
    /// meanwhile is shorter, and no SIGBUS as it would be through a mapping.
    ///
    /// - Throws: EISDIR, ESPIPE, EINVAL for an offset beyond 2^63, and what else pread(2) lists.
    public func bytes(at offset: UInt64, count: Int) throws(SystemCallError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var done = 0
        // SAFETY: pread writes no more than what is left of the array.
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
    /// Writes all of it from the file's offset on: write(2).
    ///
    /// - Throws: ENOSPC and what else write(2) lists.
    public func writeWhole(_ bytes: [UInt8]) throws(SystemCallError) {
        var done = 0
        while done < bytes.count {
            done += try systemCall("write") {
                // SAFETY: what is left of the array.
                unsafe bytes.withUnsafeBytes {
                    unsafe Glibc.write(rawValue, $0.baseAddress! + done, bytes.count - done)
                }
            }
        }
    }

    /// Whether something can be read from it, or it has ended, at once or within some time: poll(2).
    public func isReadable(within milliseconds: CInt) -> Bool { waits(for: POLLIN, milliseconds) }

    /// Whether something can be written, or nobody reads any more, at once or within some time: poll(2).
    public func hasRoom(within milliseconds: CInt) -> Bool { waits(for: POLLOUT, milliseconds) }

    private func waits(for event: CInt, _ milliseconds: CInt) -> Bool {
        var event = pollfd(fd: rawValue, events: Int16(event), revents: 0)
        while true {
            let ready = unsafe poll(&event, 1, milliseconds)
            if ready == -1, errno == EINTR { continue }
            return ready > 0
        }
    }
}
