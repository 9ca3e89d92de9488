// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage

/// The state that a keeper hands to the program that replaces it in the same process (`luoctl reload --keeper`).
/// Descriptor numbers are valid because execve(2) leaves these descriptors open. Each change of this struct needs a new
/// ``ControlVersion``.
struct KeeperState: Equatable, Sendable {
    /// A process that the keeper has started.
    struct Process: Equatable, Sendable {
        var id: CInt
        var link: CInt
        var handle: CInt
    }

    /// The gate, and the memory for its calls.
    struct Gate: Equatable, Sendable {
        var process: Process
        var calls: CInt
    }

    /// A held descriptor.
    struct Entry: Equatable, Sendable {
        var held: HeldSlot
        var number: CInt
    }

    /// The service manager, and the descriptors that it has stored.
    struct Service: Equatable, Sendable {
        var socket: CInt
        var stored: [HeldSlot]
        var stale: [HeldSlot]
    }

    var settings: Settings
    var nextSlot: Int64
    var entries: [Entry]
    var orchestrator: Process
    /// The program of orchestrators, and its open file.
    var image: String
    var imageFile: CInt
    var gate: Gate?
    var service: Service?
    var hasLostStarter: Bool
    /// Processes that have ended and cannot be reaped yet.
    var unreaped: [CInt]
    /// The flags of a request to publish for the next kernel at the end of luod; 0 without a request.
    var publication: UInt32
    /// The number that the orchestrator gave to the replacement.
    var attempt: UInt32

    /// All descriptors that the next program needs.
    var numbers: [CInt] {
        entries.map(\.number) + [orchestrator.link, orchestrator.handle, imageFile]
            + (gate.map { [$0.process.link, $0.process.handle, $0.calls] } ?? []) + (service.map { [$0.socket] } ?? [])
    }

    var bytes: [UInt8] {
        var writer = ByteWriter(capacity: 256 + entries.count * 48)
        let settings = settings.bytes
        writer.put(UInt32(settings.count))
        writer.put(settings)
        writer.put(nextSlot)
        writer.put(UInt32(entries.count))
        for entry in entries {
            writer.put(entry.held)
            writer.put(entry.number)
        }
        writer.put(orchestrator)
        writer.put(counted: image)
        writer.put(imageFile)
        writer.put(UInt8(gate == nil ? 0 : 1))
        if let gate {
            writer.put(gate.process)
            writer.put(gate.calls)
        }
        writer.put(UInt8(service == nil ? 0 : 1))
        if let service {
            writer.put(service.socket)
            for slots in [service.stored, service.stale] {
                writer.put(UInt32(slots.count))
                for held in slots { writer.put(held) }
            }
        }
        writer.put(UInt8(hasLostStarter ? 1 : 0))
        writer.put(UInt32(unreaped.count))
        for process in unreaped { writer.put(process) }
        writer.put(publication)
        writer.put(attempt)
        return writer.bytes
    }
}

extension KeeperState {
    /// - Throws: `record`, for invalid bytes.
    init(_ bytes: [UInt8]) throws(ArenaError) {
        var reader = ByteReader(bytes, "state of the keeper")
        var inner = ByteReader(try reader.take(count: Int(try reader.take(UInt32.self))), "settings")
        settings = try Settings(from: &inner)
        nextSlot = try reader.take()
        entries = []
        for _ in 0..<(try reader.take(UInt32.self)) {
            entries.append(Entry(held: try reader.takeHeldSlot(), number: try reader.take()))
        }
        orchestrator = try reader.takeProcess()
        image = try reader.takeCountedString()
        imageFile = try reader.take()
        if try reader.take(UInt8.self) != 0 {
            gate = Gate(process: try reader.takeProcess(), calls: try reader.take())
        }
        if try reader.take(UInt8.self) != 0 {
            let socket = try reader.take(CInt.self)
            service = Service(socket: socket, stored: try reader.takeHeldSlots(), stale: try reader.takeHeldSlots())
        }
        hasLostStarter = try reader.take(UInt8.self) != 0
        unreaped = []
        for _ in 0..<(try reader.take(UInt32.self)) { unreaped.append(try reader.take()) }
        publication = try reader.take()
        attempt = try reader.take()
        guard reader.isAtEnd else { throw ArenaError(.record, "state of the keeper: more than this version knows") }
    }
}

extension ByteWriter {
    fileprivate mutating func put(_ process: KeeperState.Process) {
        put(process.id)
        put(process.link)
        put(process.handle)
    }
}

extension ByteReader {
    fileprivate mutating func takeProcess() throws(ArenaError) -> KeeperState.Process {
        KeeperState.Process(id: try take(), link: try take(), handle: try take())
    }

    fileprivate mutating func takeHeldSlots() throws(ArenaError) -> [HeldSlot] {
        var slots: [HeldSlot] = []
        for _ in 0..<(try take(UInt32.self)) { slots.append(try takeHeldSlot()) }
        return slots
    }
}
