// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import LiveUpdateCommandLine
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage

/// Damages one thing between preserving and the update, to show that the demo notices and reports it.
enum DemoSabotage: String, CaseIterable, ExpressibleByArgument {
    /// The content of a file: one byte.
    case content
    /// The size of a file. The freeze refuses the change.
    case size
    /// A setting of the huge page pool.
    case pool

    /// - Returns: a description of the damage.
    func run(
        _ made: [(file: DemoFile, descriptor: FileDescriptor)], _ notes: inout DemoNotes, _ place: DemoPlace
    ) throws -> String {
        switch self {
        case .content: try flipByte(target(made, sealedAgainst: .write))
        case .size: try grow(target(made, sealedAgainst: .grow))
        case .pool: try changePool(made, &notes, place)
        }
    }

    private func target(
        _ made: [(file: DemoFile, descriptor: FileDescriptor)], sealedAgainst seal: Seals
    ) throws -> (file: DemoFile, descriptor: FileDescriptor) {
        guard let target = made.first(where: { !$0.file.seals.contains(seal) }) else {
            throw Exit.unavailable("every file is sealed against this sabotage: try --files 4")
        }
        return target
    }

    private func flipByte(_ target: (file: DemoFile, descriptor: FileDescriptor)) throws -> String {
        let mapping = try Mapping(
            of: target.descriptor, length: target.file.pageSize.bytes, .shared(writable: true))
        // SAFETY: the first page of the file exists, because every file begins with data.
        unsafe mapping.bytes.storeBytes(of: mapping.bytes[0] ^ 1, as: UInt8.self)
        return "one bit of file \(target.file.token) was flipped"
    }

    private func grow(_ target: (file: DemoFile, descriptor: FileDescriptor)) throws -> String {
        try target.descriptor.setSize(target.file.size + target.file.pageSize.bytes)
        return "file \(target.file.token) was made one page longer"
    }

    private func changePool(
        _ made: [(file: DemoFile, descriptor: FileDescriptor)], _ notes: inout DemoNotes, _ place: DemoPlace
    ) throws -> String {
        guard let size = made.map(\.file.pageSize).first(where: { $0 != .base }) else {
            throw Exit.unavailable("no file is on huge pages, so the demo does not look at the pool")
        }
        switch try PoolGuard.start(pages: 1, of: size, overcommit: true, notingIn: place.overcommitted) {
        case .success(let (poolGuard, _)):
            notes.sabotageGuard = poolGuard
            return "nr_overcommit_hugepages of \(size) pages was raised by 1"
        case .failure(let reason): throw Exit.unavailable("the pool cannot be changed: \(reason.text)")
        }
    }
}
