// SPDX-License-Identifier: Apache-2.0
import LiveUpdateHandover

/// A message of luod on a session's socket that answers no request: `u32 kind, u32 size, u64 value, u64 question`. Only
/// a client that has subscribed (SUBSCRIBE) gets notices.
///
/// The first word of an answer is 0 or negative, and the kind of a notice is positive. The second word is the length of
/// the message. No answer has its own length there.
package struct Notice: Equatable, Sendable {
    /// The kinds that this version knows.
    package enum Kind: UInt32, Sendable {
        /// An update waits until the client says READY. The value is the time that is left, in milliseconds.
        case freezeSoon = 1
        /// The update is over. The value is 1 if the next boot runs now, and 0 if the update was called off.
        case over = 2
    }

    /// The kind as a number. A later luod may send kinds that this version does not know.
    package let number: UInt32
    /// In *freeze soon* the number for READY; otherwise 0.
    package let question: UInt64
    /// The meaning depends on the kind.
    package let value: UInt64

    private static let length = 24

    /// Makes a notice to send.
    package init(_ kind: Kind, question: UInt64 = 0, value: UInt64) {
        number = kind.rawValue
        self.question = question
        self.value = value
    }

    /// Reads a message; nil for a message that is no notice. A notice of a later luod may be longer.
    package init?(_ message: [UInt8]) {
        guard let kind = message.number(Int32.self, at: 0), kind > 0,
            message.number(UInt32.self, at: 4) == UInt32(message.count),
            let value = message.number(UInt64.self, at: 8), let question = message.number(UInt64.self, at: 16)
        else { return nil }
        number = UInt32(kind)
        self.question = question
        self.value = value
    }

    /// The kind; nil for one that this version does not know.
    package var kind: Kind? { Kind(rawValue: number) }

    /// The message.
    package var bytes: [UInt8] {
        var writer = ByteWriter(capacity: Self.length)
        writer.put(number)
        writer.put(UInt32(Self.length))
        writer.put(value)
        writer.put(question)
        return writer.bytes
    }
}
