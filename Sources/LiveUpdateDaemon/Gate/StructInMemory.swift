// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform
import LiveUpdateProtocol

/// The struct of an ioctl in the memory of the caller, as far as it can be read, in the form of a request on a socket.
struct StructInMemory {
    /// The command and the struct, without unreadable bytes, and without the zeros after the struct.
    let message: [UInt8]
    /// The request, if the struct is complete and only zeros follow it.
    let whole: Whole?

    /// A complete struct.
    struct Whole {
        let call: Call
        /// The struct, with the size that the device uses instead of the caller's size.
        let body: [UInt8]
        /// The address of the struct in the caller's memory.
        let address: UInt64
        fileprivate let givenSize: [UInt8]

        /// The struct to write into the caller's memory, with the size that the caller gave.
        func answer(_ reply: [UInt8]) -> [UInt8] { givenSize + reply.dropFirst(givenSize.count) }
    }

    init(_ caller: OtherThread, _ command: UInt32, _ address: UInt64) {
        let call = Self.call(command).flatMap { Self.onlyOnSocket.contains($0) ? nil : $0 }
        let command = Self.bytes(command)
        // Reads the whole struct at once, which usually works. Bytes after an unreadable page are missing.
        guard let known = Self.read(caller, address, call?.length ?? 4), known.count >= 4 else {
            (message, whole) = (command, nil)
            return
        }
        let size = known.prefix(4).reversed().reduce(0) { $0 << 8 | Int($1) }
        guard let call, size >= call.length, known.count == call.length else {
            // An unknown number, a struct that is too short, or one that cannot be read completely.
            (message, whole) = (command + known.prefix(4), nil)
            return
        }
        switch Self.tail(caller, address &+ UInt64(call.length), size - call.length) {
        case .zero:
            let body = size == call.length ? known : Self.bytes(UInt32(call.length)) + known.dropFirst(4)
            (message, whole) = (
                command + body, Whole(call: call, body: body, address: address, givenSize: [UInt8](known.prefix(4)))
            )
        case .set: (message, whole) = (command + known + [1], nil)
        case .unreadable: (message, whole) = (command + known, nil)
        }
    }

    private static func call(_ command: UInt32) -> Call? {
        command >> 8 == 0xBA ? Call(rawValue: UInt8(command & 0xFF)) : nil
    }

    /// Whether a command is a call that luod has only on its sockets.
    static func isOnlyOnSocket(_ command: UInt32) -> Bool { call(command).map(onlyOnSocket.contains) ?? false }

    /// The calls that luod has on its sockets and that the device does not have.
    private static let onlyOnSocket: Set<Call> = [.serve, .openDevice, .identify, .status, .ping, .subscribe, .ready]

    private enum Tail {
        case zero, set, unreadable
    }

    /// The kind of the bytes after the struct.
    private static func tail(_ caller: OtherThread, _ address: UInt64, _ count: Int) -> Tail {
        var done = 0
        while done < count {
            guard let part = read(caller, address &+ UInt64(done), min(count - done, 32 << 10)), !part.isEmpty else {
                return .unreadable
            }
            guard part.allSatisfy({ $0 == 0 }) else { return .set }
            done += part.count
        }
        return .zero
    }

    private static func read(_ caller: OtherThread, _ address: UInt64, _ count: Int) -> [UInt8]? {
        try? caller.bytes(at: address, count: count)
    }

    /// The bytes of a number in memory order (little endian).
    static func bytes(_ value: UInt32) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) } }
}
