// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage

/// The common part of the records of memory files, so that all of them are frozen in the same way.
protocol KeptFileRecord {
    /// The size of the file in bytes.
    var size: UInt64 { get }
    /// The offset of the open file description, in bytes.
    var position: UInt64 { get set }
    /// The bytes of the record, without the arrays that it points to.
    var bytes: [UInt8] { get }

    /// Reads the record that a handle names.
    init(at data: UInt64, in storage: Storage) throws(LiveUpdateError)
}

/// The common part of the handlers of memory files. A descriptor holds such a file, and fstat looks at it.
extension FileContext {
    /// The held descriptor of the file.
    ///
    /// - Throws: EBADF when it was lost with its last holder.
    func keptDescriptor() throws(LiveUpdateError) -> FileDescriptor {
        guard let descriptor else {
            throw LiveUpdateError(
                .badFileDescriptor,
                "the descriptor of token \(token) is gone with the last process that held it, and the memory file with it",
                remedy:
                    "make the file again; a file with a name on hugetlbfs stays when luod ends, and one on DAX also "
                    + "when the kernel ends")
        }
        return descriptor
    }

    /// Freezes the file. It looks only at size and offset, because page maps are made by the preserve, outside of the
    /// blackout.
    ///
    /// - Returns: the handle that travels: a new one if the offset has moved.
    /// - Throws: ESTALE when the size has changed, so that the record does not describe the file any more.
    func freeze<Record: KeptFileRecord>(_: Record.Type) throws(LiveUpdateError) -> UInt64 {
        var record = try Record(at: data, in: storage)
        let position = try position(in: record)
        guard position != record.position else { return data }
        record.position = position
        storage.drop(data)
        return try storage.store(record.bytes)
    }

    /// The error with which a freeze would fail now; nil without one.
    func freezeObstacle<Record: KeptFileRecord>(_: Record.Type) -> LiveUpdateError? {
        do throws(LiveUpdateError) {
            _ = try position(in: Record(at: data, in: storage))
            return nil
        } catch {
            return error
        }
    }

    /// The offset of the file, if the file can be frozen.
    ///
    /// - Throws: ESTALE when the size has changed, EBADF when the file was lost.
    private func position(in record: some KeptFileRecord) throws(LiveUpdateError) -> UInt64 {
        let descriptor = try keptDescriptor()
        let found: (size: UInt64, position: UInt64)
        do throws(SystemCallError) {
            found = (try FileStatus(of: descriptor).size, UInt64(try descriptor.position()))
        } catch {
            throw LiveUpdateError(error, "freezing token \(token)")
        }
        guard found.size == record.size else {
            throw LiveUpdateError(
                .staleNFSFileHandle,
                "token \(token) has \(found.size) bytes, and had \(record.size) when it was preserved",
                remedy: "set its size back, or close the session and preserve the file again")
        }
        return found.position
    }

    /// Reads the record ahead of the freeze, so that only size and offset are left to look at.
    func freezeCheck<Record: KeptFileRecord>(_: Record.Type) -> (@Sendable () -> Bool)? {
        guard let descriptor, let record = try? Record(at: data, in: storage) else { return nil }
        let (size, position) = (record.size, record.position)
        return {
            do throws(SystemCallError) {
                guard try FileStatus(of: descriptor).size == size else { return false }
                return UInt64(try descriptor.position()) == position
            } catch {
                return false
            }
        }
    }

    /// - Throws: EIO when the record is damaged, EBADF when the file was lost, ESTALE when the descriptor is another
    ///   file.
    func retrieveKept<Record: KeptFileRecord>(_: Record.Type) throws(LiveUpdateError) -> RetrievedFile {
        _ = try Record(at: data, in: storage)
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
        return .kept
    }
}
