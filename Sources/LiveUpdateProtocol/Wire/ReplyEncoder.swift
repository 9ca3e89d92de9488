import Handover
public import LiveUpdate

/// Makes the bytes of answers.
public enum ReplyEncoder {
    /// s32 result, the struct, u64 tag unless it is 0, text.
    public static func message(result: Int32, structure: [UInt8], tag: UInt64, text: [UInt8] = []) -> [UInt8] {
        var writer = ByteWriter(capacity: structure.count + text.count + 12)
        writer.put(result)
        writer.put(structure)
        if tag != 0 { writer.put(tag) }
        writer.put(text)
        return writer.bytes
    }
}

extension Response {
    /// Completes an answer for the client of a request: its tag, and for a client that asks for reasons the struct, as
    /// long as in the request, and the text.
    ///
    /// - Parameter error: the failure, if it has a reason.
    public mutating func complete(for request: Request, _ error: LiveUpdateError?) {
        tag = request.tag
        guard request.wantsReason else { return }
        if body.isEmpty { body = request.body }
        if body.count < request.size { body += [UInt8](repeating: 0, count: request.size - body.count) }
        if let error { text = ReasonText(error).bytes }
    }

    /// Completes the answer to a message that is no request.
    public mutating func complete(for malformed: Malformed, _ error: LiveUpdateError) {
        tag = malformed.tag
        guard malformed.wantsReason else { return }
        body = malformed.structure
        text = ReasonText(error).bytes
    }
}

/// Takes apart the answers to one request.
public struct ReplyDecoder: Sendable {
    private let request: Request

    /// A decoder for the answers to a request with a tag.
    public init(_ request: Request) { self.request = request }

    /// The meaning of a message from luod.
    public enum Meaning: Equatable, Sendable {
        /// The answer to the request.
        case answer(Response)
        /// The refusal of the connection.
        case refusal(Response)
        /// The answer to another request.
        case other
        /// No answer that a luod gives.
        case malformed
    }

    /// Takes a message apart. Without reasons, and for a failure from a luod that does not know of reasons, the tag is the
    /// end of the message. With reasons the struct is as long as in the request.
    public func meaning(_ message: [UInt8]) -> Meaning {
        if let refusal = Response(refusing: message) { return .refusal(refusal) }
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

/// The reason of a failure and its remedy as text for an answer: one line for the reason, and a second one for the remedy if
/// there is one. At most 1,024 bytes, without any character that a terminal obeys.
public struct ReasonText: Equatable, Sendable {
    /// What was found.
    public let reason: String
    /// What to do about it.
    public let remedy: String?

    /// The most bytes of a text.
    public static let most = 1024
    /// The most bytes of the remedy in it.
    private static let mostOfRemedy = 400

    /// The text of an error, cut where it is too long.
    public init(_ error: LiveUpdateError) {
        let remedy = error.remedy.map { Self.escaped($0, most: Self.mostOfRemedy) }
        reason = Self.escaped(error.reason, most: Self.most - (remedy.map { $0.utf8.count + 1 } ?? 0))
        self.remedy = remedy
    }

    /// Reads the text of an answer; nil when there is none.
    public init?(_ bytes: [UInt8]) {
        guard !bytes.isEmpty else { return nil }
        let lines = String(decoding: bytes, as: UTF8.self).split(
            separator: "\n", maxSplits: 1, omittingEmptySubsequences: false)
        reason = String(lines[0])
        remedy = lines.count > 1 && !lines[1].isEmpty ? String(lines[1]) : nil
    }

    /// The text as it is sent.
    public var bytes: [UInt8] { [UInt8]((remedy.map { "\(reason)\n\($0)" } ?? reason).utf8) }

    /// Replaces each character that a terminal obeys by its bytes as `\xNN`, and cuts a long text between characters.
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
