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
