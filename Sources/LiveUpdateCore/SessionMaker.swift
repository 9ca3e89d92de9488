// SPDX-License-Identifier: Apache-2.0
import LiveUpdateHandover
import LiveUpdatePlatform

/// A process that opened a session: its number and the name of its command at that time. Both are for display. The
/// process may have ended since, or may have passed the session to another process.
package struct SessionClient: Equatable, Sendable {
    /// The process ID, as the orchestrator sees it. It is not 0.
    package var process: Int32
    /// The name of the command, as in /proc/PID/comm: at most 15 bytes, none of them 0. Empty if it is unknown.
    package var command: [UInt8]

    /// The most bytes of a command's name.
    package static let longestCommand = 15

    /// Makes a client. A longer name of a command is cut.
    package init(process: Int32, command: [UInt8]) {
        self.process = process
        self.command = [UInt8](command.prefix { $0 != 0 }.prefix(Self.longestCommand))
    }

    /// The name of the command as text for people and JSON. A byte that would control a terminal is `\xNN`.
    package var commandText: String { SessionName(bytes: command).description }

    fileprivate var isValid: Bool {
        process > 0 && command.count <= Self.longestCommand && !command.contains(0)
    }
}

/// The making of a session: its time, and the client that made the session. It is for display, and no decision depends
/// on it.
package struct SessionMaker: Equatable, Sendable {
    /// The time of CLOCK_REALTIME in nanoseconds. It is not 0.
    package var time: UInt64
    /// The client; nil when its process is unknown, such as that of a program under `luoctl run`.
    package var client: SessionClient?

    /// Makes the record of a making.
    package init(time: UInt64, client: SessionClient?) {
        self.time = time
        self.client = client
    }
}

// MARK: In records

extension ByteWriter {
    /// Appends `s32 process, u16 length, command`. A process of 0 stands for no client.
    mutating func put(_ client: SessionClient?) {
        put(client?.process ?? 0)
        put(UInt16(client?.command.count ?? 0))
        put(client?.command ?? [])
    }
}

extension ByteReader {
    /// Reads the fields of a client; nil for a process of 0.
    ///
    /// - Throws: `record` for a negative process, and for a name that is too long or has a NUL.
    mutating func takeClient() throws(ArenaError) -> SessionClient? {
        let process = try take(Int32.self)
        let count = Int(try take(UInt16.self))
        return try SessionClient(checking: process, [UInt8](try take(count: count)))
    }
}

extension SessionClient {
    /// Checks the fields of a record; nil for a process of 0.
    ///
    /// - Throws: `record`.
    init?(checking process: Int32, _ command: [UInt8]) throws(ArenaError) {
        if process == 0, command.isEmpty { return nil }
        self.init(process: process, command: command)
        guard isValid, self.command == command else {
            throw ArenaError(.record, "a client with the process \(process) and a command of \(command.count) bytes")
        }
    }
}

/// `u64 time, s32 process, char command[16], u32 zero`: `luo-maker-v1` has one for each session, in the order of the
/// sessions. A time of 0 stands for an unknown making.
struct MakerRecord: PackedRecord, Equatable {
    static let length = 32

    var maker: SessionMaker?

    func encode(into writer: inout ByteWriter) {
        let command = maker?.client?.command ?? []
        writer.put(maker?.time ?? 0)
        writer.put(maker?.client?.process ?? 0)
        writer.put(command)
        writer.pad(16 - command.count)
        writer.put(UInt32(0))
    }
}

extension MakerRecord {
    init(_ reader: inout ByteReader) throws(ArenaError) {
        let time = try reader.take(UInt64.self)
        let process = try reader.take(Int32.self)
        let command = try reader.takeName(fixed: 16).bytes
        _ = try reader.take(UInt32.self)
        let client = try SessionClient(checking: process, command)
        maker = time == 0 ? nil : SessionMaker(time: time, client: client)
    }
}
