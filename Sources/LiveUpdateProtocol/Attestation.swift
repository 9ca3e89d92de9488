// SPDX-License-Identifier: Apache-2.0
package import LiveUpdateCore
import LiveUpdateHandover
package import LiveUpdatePlatform
package import SystemPackage

/// The memory file with the checksums of a file, beside ATTEST_FD and the answer to GET_ATTESTATION. It has all seals,
/// so that its content and its size cannot change while the receiver reads it.
package enum Attestation {
    private static let seals: Seals = [.seal, .shrink, .grow, .write]

    /// Makes the memory file.
    ///
    /// - Throws: EMFILE, ENOMEM.
    package static func file(_ sums: FileSums) throws(LiveUpdateError) -> OwnedDescriptor {
        do throws(SystemCallError) {
            let bytes = sums.bytes
            let file = try makeMemoryFile(named: "luo-sums", size: UInt64(bytes.count))
            try file.borrowed.writeWhole(bytes)
            try file.borrowed.addSeals(seals)
            return file
        } catch {
            throw LiveUpdateError(error, "a memory file for checksums")
        }
    }

    /// Reads a memory file that another process has made.
    ///
    /// - Throws: EBADF without a descriptor; EINVAL for another file, for one without all seals, for one that is too
    ///   large, and for sums that contradict each other.
    package static func read(_ file: FileDescriptor) throws(LiveUpdateError) -> FileSums {
        let status: FileStatus
        let found: Seals?
        do throws(SystemCallError) {
            status = try FileStatus(cached: file)
            found = try file.hasSeals() ? file.seals() : nil
        } catch {
            throw LiveUpdateError(error, "the checksums")
        }
        guard let found, found.isSuperset(of: seals), status.size <= UInt64(FileSums.mostBytes) else {
            throw LiveUpdateError(
                .invalidArgument,
                "the checksums are in no memory file with all seals and at most \(FileSums.mostBytes) bytes",
                remedy: "pass a memfd with F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW and F_SEAL_WRITE")
        }
        let bytes: [UInt8]
        do throws(SystemCallError) {
            bytes = try file.bytes(at: 0, count: Int(status.size))
        } catch {
            throw LiveUpdateError(error, "the checksums")
        }
        do throws(ArenaError) {
            return try FileSums(bytes)
        } catch {
            throw LiveUpdateError(
                .invalidArgument, "the checksums cannot be: \(error.reason)",
                remedy: "pass the size of the file, the length of a block, and one sum for each block")
        }
    }
}
