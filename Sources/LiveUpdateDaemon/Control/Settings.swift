// SPDX-License-Identifier: Apache-2.0
package import LiveUpdateCore
package import LiveUpdateHandover
import LiveUpdatePlatform
package import SystemPackage

/// The options of luod. The keeper reads them from the command line and sends them to each process that it starts
/// (``ControlMessage/settings(_:)``).
package struct Settings: Sendable {
    /// The directory of the state.
    package var state: String
    /// The size that the arena may grow to.
    package var arena = Arena.Options()
    /// The limits of each user except root.
    package var limits = UserLimits(sessions: 4096, files: 65536, arenaBytes: 256 << 20)
    /// The limits on the memory of the files of each user except root. Beyond them preserving fails with EDQUOT.
    package var memory = MemoryLimits()
    /// The most descriptors of connections, sessions and files that are held for each user except root. Beyond it:
    /// EMFILE.
    package var userDescriptors = 16384
    /// RLIMIT_NOFILE of the process with these settings. The keeper gives an orchestrator fewer than it has itself.
    package var descriptors = Self.usualDescriptors
    /// The default of ``descriptors``.
    static let usualDescriptors = 65536
    /// The least useful value of ``descriptors``: a process has about fifteen of its own, and could hold nothing with
    /// less.
    package static let fewestDescriptors = 64
    /// Whether processes give up the rights that they do not need: see docs/daemon.md.
    package var isConfined = true
    /// The kernel that programs under `luoctl run` see; nil: all calls.
    package var kernel: EmulatedKernel?
    /// Whether luod ends with the last of those programs, and removes its state.
    package var endsUnused = false
    /// How long a next image may take before an update is called off, in milliseconds.
    package var patience: UInt64 = 5000
    /// How long keeper and orchestrator may be silent before one ends the other, in milliseconds. ``HangPolicy`` counts
    /// the turns of the process that watches.
    package var silence: UInt64 = 30_000
    /// The format of the log. Nil stands for that of a journal if standard error leads to one, and for text otherwise.
    package var logFormat: LogFormat?
    /// Permissions of the clients' socket. In the orchestrator these are the actual permissions, even if a service
    /// manager has made the socket: see ``isOpenToEverybody``.
    package var socketMode: FilePermissions = .ownerReadWrite
    /// The group of the clients' socket; nil for the group of the keeper's process.
    package var socketGroup: UInt32?
    /// Whether users without any relation to luod can connect, by the permissions of the clients' socket.
    package var isOpenToEverybody: Bool { socketMode.contains(.otherWrite) }

    /// The defaults, for a state.
    package init(state: String) { self.state = state }
}

/// Settings as bytes. Each change of this codec is a new version of the control link (``ControlVersion``).
extension Settings {
    var bytes: [UInt8] {
        var writer = ByteWriter(capacity: 128 + state.utf8.count)
        writer.put(counted: state)
        writer.put(arena.limit)
        writer.put(Int64(limits.sessions))
        writer.put(Int64(limits.files))
        writer.put(limits.arenaBytes)
        memory.put(in: &writer)
        writer.put(Int64(userDescriptors))
        writer.put(Int64(descriptors))
        writer.put(UInt8(isConfined ? 1 : 0))
        writer.put(counted: kernel?.rawValue ?? "")
        writer.put(UInt8(endsUnused ? 1 : 0))
        writer.put(patience)
        writer.put(silence)
        writer.put(UInt32(socketMode.rawValue))
        writer.put(UInt8(socketGroup == nil ? 0 : 1))
        writer.put(socketGroup ?? 0)
        // Only a luod with the option sends the field: earlier programs of version 1 refuse longer settings.
        if let logFormat { writer.put(counted: logFormat.rawValue) }
        return writer.bytes
    }

    /// Reads settings, which end the message.
    ///
    /// - Throws: `record`, when the bytes end too early or too late, or have no meaning.
    init(from reader: inout ByteReader) throws(ArenaError) {
        func flag(_ byte: UInt8) throws(ArenaError) -> Bool {
            guard byte <= 1 else { throw ArenaError(.record, "settings: \(byte) is not a truth value") }
            return byte == 1
        }
        self.init(state: try reader.takeCountedString())
        arena.limit = try reader.take()
        limits.sessions = Int(try reader.take(Int64.self))
        limits.files = Int(try reader.take(Int64.self))
        limits.arenaBytes = try reader.take()
        memory = try MemoryLimits(from: &reader)
        userDescriptors = Int(try reader.take(Int64.self))
        descriptors = Int(try reader.take(Int64.self))
        isConfined = try flag(try reader.take())
        let name = try reader.takeCountedString()
        if !name.isEmpty {
            guard let known = EmulatedKernel(rawValue: name) else {
                throw ArenaError(.record, "settings: the kernel \"\(name)\"")
            }
            kernel = known
        }
        endsUnused = try flag(try reader.take())
        patience = try reader.take()
        silence = try reader.take()
        socketMode = FilePermissions(rawValue: CModeT(truncatingIfNeeded: try reader.take(UInt32.self)))
        let hasGroup = try flag(try reader.take())
        let group = try reader.take(UInt32.self)
        socketGroup = hasGroup ? group : nil
        if !reader.isAtEnd {
            let name = try reader.takeCountedString()
            logFormat = LogFormat(rawValue: name)
            if logFormat == nil { throw ArenaError(.record, "settings: the log format \"\(name)\"") }
        }
        guard reader.isAtEnd else { throw ArenaError(.record, "settings: there is more than this version knows") }
    }
}

extension Settings: Equatable {
    package static func == (left: Self, right: Self) -> Bool { left.bytes == right.bytes }
}
