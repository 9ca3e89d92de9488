// SPDX-License-Identifier: Apache-2.0
package import LiveUpdateCore
import LiveUpdateHandover

/// Makes the bytes of answers.
package enum ReplyEncoder {
    /// Encodes s32 result, the struct, u64 tag unless it is 0, and the text.
    package static func message(result: Int32, structure: [UInt8], tag: UInt64, text: [UInt8] = []) -> [UInt8] {
        var writer = ByteWriter(capacity: structure.count + text.count + 12)
        writer.put(result)
        writer.put(structure)
        if tag != 0 { writer.put(tag) }
        writer.put(text)
        return writer.bytes
    }
}

extension Response {
    /// Completes an answer for the client of a request with the tag. For a client that asks for reasons it also adds
    /// the text and extends the struct to its length in the request.
    ///
    /// - Parameters:
    ///   - request: the request.
    ///   - error: the failure, if it has a reason.
    package mutating func complete(for request: Request, _ error: LiveUpdateError?) {
        tag = request.tag
        guard request.wantsReason else { return }
        if body.isEmpty { body = request.body }
        if body.count < request.size { body += [UInt8](repeating: 0, count: request.size - body.count) }
        if let error { text = ReasonText(error).bytes }
    }

    /// Completes the answer to an invalid message.
    package mutating func complete(for malformed: Malformed, _ error: LiveUpdateError) {
        tag = malformed.tag
        guard malformed.wantsReason else { return }
        body = malformed.structure
        text = ReasonText(error).bytes
    }
}

/// Decodes the answers to one request.
package struct ReplyDecoder: Sendable {
    private let request: Request

    /// A decoder for the answers to a request with a tag.
    package init(_ request: Request) { self.request = request }

    /// The meaning of a message from luod.
    package enum Meaning: Equatable, Sendable {
        /// The answer to the request.
        case answer(Response)
        /// The refusal of the connection.
        case refusal(Response)
        /// The answer to another request.
        case other
        /// A message that answers no request.
        case notice(Notice)
        /// A message that no luod sends.
        case malformed
    }

    /// Decodes a message. Without reasons, the message ends with the tag. So does a failure from a luod that does not
    /// know reasons. With reasons, the struct is as long as in the request.
    package func meaning(_ message: [UInt8]) -> Meaning {
        if let refusal = Response(refusing: message) { return .refusal(refusal) }
        if let notice = Notice(message) { return .notice(notice) }
        guard message.count >= 12, let result = message.number(Int32.self, at: 0) else { return .malformed }
        let end = 4 + request.body.count
        if request.wantsReason, message.number(UInt64.self, at: end) == request.tag {
            return .answer(
                Response(
                    result: result, body: [UInt8](message[4..<end]), tag: request.tag,
                    text: [UInt8](message[(end + 8)...])))
        }
        guard let response = Response(message, tagged: true), response.tag == request.tag else { return .other }
        guard !request.wantsReason || response.body.isEmpty else { return .malformed }
        return .answer(response)
    }
}

/// The reason of a failure and its remedy, as text for an answer: one line for the reason, and a second line for the
/// remedy if there is one. It has at most 1,024 bytes and no control characters for a terminal.
package struct ReasonText: Equatable, Sendable {
    /// The reason of the failure.
    package let reason: String
    /// The remedy: the next step for the user.
    package let remedy: String?

    /// The most bytes of a text.
    package static let most = 1024
    /// The most bytes of the remedy.
    private static let mostOfRemedy = 400

    /// The text of an error, shortened if it is too long.
    package init(_ error: LiveUpdateError) {
        let remedy = error.remedy.map { Self.escaped($0, most: Self.mostOfRemedy) }
        reason = Self.escaped(error.reason, most: Self.most - (remedy.map { $0.utf8.count + 1 } ?? 0))
        self.remedy = remedy
    }

    /// Reads the text of an answer; nil when there is none.
    package init?(_ bytes: [UInt8]) {
        guard !bytes.isEmpty else { return nil }
        let lines = String(decoding: bytes, as: UTF8.self).split(
            separator: "\n", maxSplits: 1, omittingEmptySubsequences: false)
        reason = String(lines[0])
        remedy = lines.count > 1 && !lines[1].isEmpty ? String(lines[1]) : nil
    }

    /// The bytes to send.
    package var bytes: [UInt8] { [UInt8]((remedy.map { "\(reason)\n\($0)" } ?? reason).utf8) }

    /// Replaces each control character by its bytes as `\xNN`, and shortens a long text between characters.
    private static func escaped(_ text: String, most: Int) -> String {
        if text.utf8.count <= most, text.utf8.allSatisfy({ 0x20..<0x7f ~= $0 }) { return text }
        let mark = "…"
        var (shown, cut) = ("", 0)
        for scalar in text.unicodeScalars {
            shown +=
                scalar.isPrintable
                ? String(scalar) : SessionName(bytes: UTF8.encode(scalar).map(Array.init) ?? []).description
            if shown.utf8.count + mark.utf8.count <= most { cut = shown.utf8.count }
            if shown.utf8.count > most { return String(decoding: shown.utf8.prefix(cut), as: UTF8.self) + mark }
        }
        return shown
    }
}
