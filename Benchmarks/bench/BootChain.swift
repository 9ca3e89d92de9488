// SPDX-License-Identifier: Apache-2.0
import LiveUpdate
import LiveUpdateCore
import LiveUpdateHandlers
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage

/// A chain of boots in this process, to measure the phases without the execve between them. As after an update, each
/// boot begins with the state that the previous boot published.
final class BootChain {
    private var arena: Arena
    private var boot: Orchestrator
    private let descriptors = InheritedDescriptors()

    init() throws {
        arena = try Arena.make()
        boot = Orchestrator(arena: arena, descriptors: descriptors)
        try boot.registerStandardHandlers()
    }

    /// After a failure, files are still preserved. The next measurements need their descriptors and pages.
    deinit { for slot in (try? boot.slots()) ?? [] { descriptors.release(slot) } }

    /// Takes files through all phases in one session. `meter` measures each phase.
    func round(_ files: [FileDescriptor], _ meter: BenchMeter) throws {
        let before = arena.used
        let session = try boot.createSession("bench")
        try meter.measure(.preserve) {
            for (token, file) in files.enumerated() { try session.preserve(file, token: UInt64(token)) }
        }
        meter.arenaBytes = Double(arena.used - min(before, arena.used))
        try meter.measure(.publish) { try boot.publish() }
        try next(meter)
        try takeBack(files.count, meter)
        try unpreserve(files, meter)
    }

    private func next(_ meter: BenchMeter) throws {
        var begun: (Arena, Orchestrator)?
        try meter.measure(.boot) {
            let arena = try Arena(opening: try arena.descriptor.duplicated())
            let boot = Orchestrator(arena: arena, descriptors: descriptors)
            try boot.registerStandardHandlers()
            try boot.open()
            begun = (arena, boot)
        }
        guard let begun else { return }
        (arena, boot) = begun
        let freeze = try boot.status().freeze
        meter.split(.freeze, nanoseconds: Double(freeze.end - freeze.start), from: .publish)
    }

    private func takeBack(_ count: Int, _ meter: BenchMeter) throws {
        let session = try boot.retrieveSession("bench")
        var retrieved: [FileDescriptor] = []
        retrieved.reserveCapacity(count)
        try meter.measure(.retrieve) {
            for token in 0..<count { retrieved.append(try session.retrieve(token: UInt64(token)).release()) }
        }
        for file in retrieved { try closeDescriptor(file) }
        try meter.measure(.finish) { try session.finish() }
        try session.close()
    }

    private func unpreserve(_ files: [FileDescriptor], _ meter: BenchMeter) throws {
        let session = try boot.createSession("bench")
        for (token, file) in files.enumerated() { try session.preserve(file, token: UInt64(token)) }
        try meter.measure(.unpreserve) {
            for token in files.indices { try session.unpreserve(token: UInt64(token)) }
        }
        try session.close()
    }
}
