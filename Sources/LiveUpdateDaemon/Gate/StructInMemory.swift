import LiveUpdateProtocol
import Platform

/// The struct of an ioctl in the memory of the caller, as far as it can be read, in the form of a request that came
/// over a socket.
struct StructInMemory {
    /// Command and struct, without bytes that cannot be read, and without zeros behind the struct.
    let message: [UInt8]
    /// The request that it is, when the struct is whole, and nothing is behind it.
    let whole: Whole?

    /// A struct of which nothing is missing.
    struct Whole {
        let call: Call
        /// It, with the device's size, whatever it was given with.
        let body: [UInt8]
        /// Where it is in the caller's memory.
        let address: UInt64
        fileprivate let givenSize: [UInt8]

        /// A struct that is to be in its place, as the caller finds it: with the size that the caller gave.
        func answer(_ reply: [UInt8]) -> [UInt8] { givenSize + reply.dropFirst(givenSize.count) }
    }

    init(_ caller: OtherThread, _ command: UInt32, _ address: UInt64) {
        let known = command >> 8 == 0xBA ? Call(rawValue: UInt8(command & 0xFF)) : nil
        let call = known.flatMap { [.serve, .openDevice, .identify, .status, .ping].contains($0) ? nil : $0 }
        let command = Self.bytes(command)
        // All of it at once, which works for most. Bytes behind a page that cannot be read are missing.
        guard let known = Self.read(caller, address, call?.length ?? 4), known.count >= 4 else {
            (message, whole) = (command, nil)
            return
        }
        let size = known.prefix(4).reversed().reduce(0) { $0 << 8 | Int($1) }
        guard let call, size >= call.length, known.count == call.length else {
            // An unknown number, a struct that is too short, or one that is not all there.
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

    private enum Tail {
        case zero, set, unreadable
    }

    /// The kinds of bytes behind the struct.
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

    /// As it is in memory.
    static func bytes(_ value: UInt32) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) } }
}
