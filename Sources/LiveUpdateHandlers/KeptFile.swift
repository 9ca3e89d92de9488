import LiveUpdate
import Platform
import SystemPackage

/// What the handlers of memory files have in common: such a file is kept by its descriptor, and looked at with fstat.
extension FileContext {
    /// - Throws: EBADF when it was lost with its last holder.
    func keptDescriptor() throws(LiveUpdateError) -> FileDescriptor {
        guard let descriptor else {
            throw LiveUpdateError(
                .badFileDescriptor, "the descriptor of token \(token) is gone, and the memory file with it")
        }
        return descriptor
    }

    /// The offset, if it is not the recorded one; all that a freeze has to look at besides the size.
    ///
    /// - Throws: ESTALE when the size changed: what was described is not what would travel.
    func movedPosition(size: UInt64, position: UInt64) throws(LiveUpdateError) -> UInt64? {
        let descriptor = try keptDescriptor()
        let found: (size: UInt64, position: UInt64)
        do throws(SystemCallError) {
            found = (try FileStatus(of: descriptor).size, UInt64(try descriptor.position()))
        } catch {
            throw LiveUpdateError(error, "freezing token \(token)")
        }
        guard found.size == size else {
            throw LiveUpdateError(
                .staleNFSFileHandle, "token \(token) has \(found.size) bytes, and had \(size) when it was preserved",
                remedy: "set its size back, or close the session and preserve the file anew")
        }
        return found.position == position ? nil : found.position
    }

    /// - Throws: EBADF when the kept descriptor is not open, ESTALE when it is another file.
    func checkKept() throws(LiveUpdateError) {
        let descriptor = try keptDescriptor()
        let found: FileIdentity
        do throws(SystemCallError) {
            found = try FileStatus(of: descriptor).identity
        } catch {
            throw LiveUpdateError(error, "the kept descriptor of token \(token)")
        }
        guard found == identity else {
            throw LiveUpdateError(
                .staleNFSFileHandle,
                "the kept descriptor of token \(token) is \(found), where \(identity) was preserved")
        }
    }
}
