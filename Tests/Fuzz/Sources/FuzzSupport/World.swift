// SPDX-License-Identifier: Apache-2.0
import SystemPackage

@testable package import LiveUpdateCore
@testable package import LiveUpdateHandlers
@testable package import LiveUpdateHandover
@testable import LiveUpdatePlatform

/// The arena's file and the descriptors, which outlive the boots.
package final class World: Sendable {
    /// The arena is small, so that the fuzzer reaches its limits.
    package static let options = Arena.Options(initialSize: 4096, limit: 512 << 10)
    private static let most = 512 << 10

    package let descriptors: FixedFiles
    private let file: FileDescriptor
    private let mapping: Mapping

    /// A world without an arena.
    package init() throws {
        descriptors = try FixedFiles()
        file = try makeMemoryFile(named: "arena", size: 0).release()
        mapping = try Mapping(of: file, length: UInt64(Self.most), .shared(writable: true))
    }

    /// Formats the file as an empty arena.
    package func format() throws {
        try file.setSize(0)
        _ = try Arena.format(try file.duplicated(), Self.options)
    }

    /// The arena's bytes. Setting them overwrites the file.
    package var image: [UInt8] {
        get throws {
            let size = try FileStatus(of: file).size
            // SAFETY: the file has that many bytes.
            return unsafe [UInt8](UnsafeRawBufferPointer(rebasing: mapping.bytes[..<Int(size)]))
        }
    }

    package func load(_ image: [UInt8]) throws {
        precondition(image.count <= Self.most)
        try file.setSize(UInt64(image.count))
        // SAFETY: the file now has as many bytes.
        unsafe mapping.bytes.copyBytes(from: image)
    }

    /// Opens the arena, or throws if it is refused.
    package func openArena() throws -> Arena { try Arena(opening: try file.duplicated(), Self.options) }

    /// Begins a boot with the handlers of the library.
    package func boot(_ opening: Orchestrator.Opening) throws -> Boot {
        let orchestrator = Orchestrator(arena: try openArena(), descriptors: descriptors, opening: opening)
        let hugeTLB = try orchestrator.registerStandardHandlers()
        try orchestrator.open()
        return Boot(orchestrator: orchestrator, hugeTLB: hugeTLB)
    }

    /// A boot that has begun.
    package struct Boot {
        package let orchestrator: Orchestrator
        package let hugeTLB: HugeTLB
    }
}
