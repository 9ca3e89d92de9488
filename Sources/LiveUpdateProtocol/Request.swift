// SPDX-License-Identifier: Apache-2.0
import LiveUpdateHandover

/// A request of a client: u32 command, the struct of the ioctl, u64 tag, u32 flags. Tag and flags are optional.
///
/// The tag is not 0, and differs from the tag of the connection's last request. With a tag, the request is done exactly
/// once.
package struct Request: Equatable, Sendable {
    /// The call.
    package var call: Call
    /// The struct, beginning with its size, at most as long as this version knows it.
    package var body: [UInt8]
    /// The length of the struct in the request. Bytes beyond ``body`` are zero.
    package var size: Int
    /// The tag; 0: none.
    package var tag: UInt64
    /// Whether the client asks for the reason of a failure as text.
    package var wantsReason: Bool

    /// Makes a request to send.
    package init(_ call: Call, body: [UInt8], tag: UInt64, wantsReason: Bool = false) {
        self.init(call, body: body, size: body.count, tag: tag, wantsReason: wantsReason)
    }

    init(_ call: Call, body: [UInt8], size: Int, tag: UInt64, wantsReason: Bool) {
        self.call = call
        self.body = body
        self.size = size
        self.tag = tag
        self.wantsReason = wantsReason
    }

    /// Bit 0 of the flags: the client asks for reasons.
    static let reasons: UInt32 = 1

    /// The message.
    package var bytes: [UInt8] {
        var writer = ByteWriter(capacity: body.count + 16)
        writer.put(call.command)
        writer.put(body)
        writer.put(tag)
        if wantsReason { writer.put(Self.reasons) }
        return writer.bytes
    }
}

/// An answer: s32 result, the struct, the tag of the request if it had one, and text for a client that asked for it.
package struct Response: Equatable, Sendable {
    /// 0, or a negative errno.
    package var result: Int32
    /// The struct.
    package var body: [UInt8]
    /// The tag of the request.
    package var tag: UInt64
    /// The reason of a failure (``ReasonText``), or the call's own text.
    package var text: [UInt8]

    /// Makes an answer to send.
    package init(result: Int32, body: [UInt8] = [], tag: UInt64, text: [UInt8] = []) {
        self.result = result
        self.body = body
        self.tag = tag
        self.text = text
    }

    /// Makes the refusal of a connection, which is closed afterwards. It has only the result.
    package init(refusingWith result: Int32) { self.init(result: result, tag: 0) }

    /// Reads the refusal of a connection; nil for any other message.
    package init?(refusing message: [UInt8]) {
        guard message.count == 4, let result = message.number(Int32.self, at: 0), result < 0 else { return nil }
        self.init(refusingWith: result)
    }

    /// The errno of a failed request, as a positive number. Nil when the request worked; EPROTO when the result is
    /// neither 0 nor a negative errno.
    package var failure: Int32? {
        switch result {
        case 0: nil
        case -Self.largestErrno ... -1: -result
        default: Self.protocolError
        }
    }

    /// The largest errno that the kernel returns: MAX_ERRNO.
    private static let largestErrno: Int32 = 4095
    private static let protocolError: Int32 = 71

    /// The message.
    package var bytes: [UInt8] { ReplyEncoder.message(result: result, structure: body, tag: tag, text: text) }

    /// Decodes an answer without text; nil for a message that is too short for an answer. `tagged` says whether the
    /// request had a tag.
    package init?(_ message: [UInt8], tagged: Bool) {
        guard message.count >= (tagged ? 12 : 4) else { return nil }
        self.init(
            result: message.number(Int32.self, at: 0) ?? 0,
            body: [UInt8](message.dropFirst(4).dropLast(tagged ? 8 : 0)),
            tag: tagged ? message.number(UInt64.self, at: message.count - 8) ?? 0 : 0)
    }
}
