// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdateHandover
import LiveUpdateMachine
import LiveUpdatePlatform

/// A message between the old process of a hand-over and the image that it has started.
///
/// - Both sides send `hello` first. The `hello` of the old process comes with the arena.
/// - The old process sends `hold` with copies of the held descriptors, and `told` after all of them. Later it sends
///   descriptors that the image lacks in the same way.
/// - Both sides send the messages of an update.
enum ImageMessage: Equatable {
    /// - Parameter process: the number of the sender's process.
    case hello(version: UInt32, process: Int32)
    /// The slots of the descriptors of this message.
    case hold([DescriptorSlot])
    /// The image has all held descriptors.
    case told
    case update(UpdateMessage)

    /// The version of this link. Raise the number with every change of the messages, also of those of an update.
    static let version: UInt32 = 1

    /// The greeting of this process.
    static var greeting: ImageMessage { .hello(version: version, process: getpid()) }

    private enum Number: UInt32 {
        /// The letters LUH! as a little-endian number. It is the same in all versions.
        case hello = 0x2148_554C
        case hold = 1
        case told = 2
    }

    var bytes: [UInt8] {
        var writer = ByteWriter(capacity: 16)
        switch self {
        case .hello(let version, let process):
            writer.put(Number.hello.rawValue)
            writer.put(version)
            writer.put(process)
        case .hold(let slots):
            writer.put(Number.hold.rawValue)
            for slot in slots { writer.put(slot.number) }
        case .told: writer.put(Number.told.rawValue)
        case .update(let message): return message.bytes
        }
        return writer.bytes
    }

    /// Decodes a message.
    ///
    /// - Returns: nil for a message that this version does not have.
    init?(_ bytes: [UInt8]) {
        guard let message = try? Self.read(bytes) else { return nil }
        self = message
    }

    private static func read(_ bytes: [UInt8]) throws(ArenaError) -> ImageMessage {
        if let message = try UpdateMessage.read(bytes) { return .update(message) }
        var reader = ByteReader(bytes, "message of a hand-over")
        let number = try reader.take(UInt32.self)
        switch Number(rawValue: number) {
        case .hello: return .hello(version: try reader.take(), process: try reader.take())
        case .hold:
            var slots: [DescriptorSlot] = []
            while !reader.isAtEnd { slots.append(DescriptorSlot(try reader.take())) }
            return .hold(slots)
        case .told: return .told
        case nil: throw ArenaError(.record, "a message of type \(number)")
        }
    }
}
