// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdatePlatform
import Synchronization
import SystemPackage

/// The arena's bytes. Only this type stores into them, and all other code uses offsets.
///
/// The file is mapped once, up to the limit of its growth, so that no address ever moves. Memory beyond its present
/// size is never accessed.
final class ArenaStore: ArenaSource, Sendable {
    private let file: OwnedDescriptor
    private let mapping: Mapping
    private let probe: (any StoreProbe)?
    private let mapped: UInt64

    init(
        file: consuming OwnedDescriptor, limit: UInt64, probe: (any StoreProbe)?
    ) throws(ArenaError) {
        do {
            mapping = try Mapping(of: file.borrowed, length: limit, .shared(writable: true))
        } catch {
            throw ArenaError(.size, "cannot be mapped: \(error)", errno: error.errno)
        }
        // An update should not wait for swap, so the memory is locked if this process may lock it. Huge pages are never
        // swapped, and locking would allocate all of them at once, even with MLOCK_ONFAULT.
        if case .hugetlbfs = try? FileSystemKind(of: file.borrowed) {} else { try? mapping.lockInMemory() }
        mapped = limit
        self.file = file
        self.probe = probe
    }

    var descriptor: FileDescriptor { file.borrowed }

    /// The size of the mapping in bytes.
    var limit: UInt64 { mapped }

    func read(at offset: UInt64, count: Int) -> [UInt8] {
        precondition(offset <= mapped && UInt64(count) <= mapped - offset)
        // SAFETY: the precondition keeps the range inside the mapping; callers keep it inside the file.
        return unsafe [UInt8](UnsafeRawBufferPointer(rebasing: mapping.bytes[Int(offset)..<Int(offset) + count]))
    }

    func checksum(at offset: UInt64, count: Int, continuing previous: UInt32 = 0) -> UInt32 {
        precondition(offset <= mapped && UInt64(count) <= mapped - offset)
        // SAFETY: as in read.
        return unsafe CRC32C.of(
            UnsafeRawBufferPointer(rebasing: mapping.bytes[Int(offset)..<Int(offset) + count]), continuing: previous)
    }

    func holds(_ bytes: ArraySlice<UInt8>, at offset: UInt64) -> Bool {
        precondition(offset <= mapped && UInt64(bytes.count) <= mapped - offset)
        return unsafe bytes.withUnsafeBytes { wanted in
            guard let wanted = wanted.baseAddress, let mapping = unsafe mapping.bytes.baseAddress else { return true }
            // SAFETY: the range is inside the mapping, as in read.
            return unsafe memcmp(mapping + Int(offset), wanted, bytes.count) == 0
        }
    }

    func write(_ bytes: [UInt8], at offset: UInt64) {
        precondition(offset <= mapped && UInt64(bytes.count) <= mapped - offset)
        let count = probe?.willStore(bytes: bytes.count) ?? bytes.count
        // SAFETY: as in read.
        unsafe UnsafeMutableRawBufferPointer(rebasing: mapping.bytes[Int(offset)..<Int(offset) + count])
            .copyBytes(from: bytes[..<count])
    }

    /// Makes one aligned 8-byte store. Other processes see it only after all earlier stores.
    func commit(_ value: UInt64, at offset: UInt64) {
        guard probe?.willStore(bytes: 8) ?? 8 == 8 else { return }
        unsafe word(at: offset).pointee.store(value, ordering: .releasing)
    }

    /// Loads the value of the last ``commit(_:at:)``. All stores before that commit are visible, too.
    func committed(at offset: UInt64) -> UInt64 { unsafe word(at: offset).pointee.load(ordering: .acquiring) }

    /// Makes sure that the file's first `size` bytes exist.
    func grow(from old: UInt64, to size: UInt64) throws(ArenaError) {
        if let probe, probe.willStore(bytes: 8) < 8 { return }
        try file.borrowed.allocateArena(from: old, to: size, "cannot grow to \(size) bytes")
    }

    // SAFETY: an Atomic<UInt64> has eight bytes and nothing else. The offset is aligned and inside the mapping, which
    // lives as long as self.
    @unsafe
    private func word(at offset: UInt64) -> UnsafeMutablePointer<Atomic<UInt64>> {
        precondition(offset % 8 == 0 && offset <= mapped - 8)
        return unsafe (mapping.bytes.baseAddress! + Int(offset)).assumingMemoryBound(to: Atomic<UInt64>.self)
    }
}

extension FileDescriptor {
    /// Allocates a part of an arena's file before it is accessed through the mapping: fallocate(2).
    ///
    /// - Parameters:
    ///   - start: the part's first byte.
    ///   - end: the offset after the part's last byte.
    ///   - failure: the first words of the error's reason.
    /// - Throws: `space`: ENOSPC when the file system is full, or when the file would become longer than RLIMIT_FSIZE
    ///   allows (EFBIG of the kernel); other errors of fallocate(2).
    func allocateArena(from start: UInt64, to end: UInt64, _ failure: String) throws(ArenaError) {
        do throws(SystemCallError) {
            try allocate(offset: start, length: end - start)
        } catch {
            guard error.errno == .fileTooLarge else {
                throw ArenaError(.space, "\(failure): \(error)", errno: error.errno)
            }
            throw ArenaError(
                .space, "\(failure): the process's limit on the size of files (ulimit -f, LimitFSIZE=) is reached",
                errno: .noSpace)
        }
    }
}
