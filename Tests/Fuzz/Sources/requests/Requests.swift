// SPDX-License-Identifier: Apache-2.0
import FuzzSupport
import SystemPackage

@testable import LiveUpdateCore
@testable import LiveUpdateProtocol

// Decodes a message on the clients' socket, as a request and as an answer. The first byte of an input gives the kind of
// the descriptor on which the message comes. A second implementation of docs/protocol.md gives the errno of a malformed
// message.

@_cdecl("LLVMFuzzerInitialize")
public func initialize(_: UnsafeMutableRawPointer?, _: UnsafeMutableRawPointer?) -> CInt {
    writeSeedsIfAsked { seeds() }
    return 0
}

@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    var bytes = unsafe input(start, count)
    guard let flags = bytes.first else { return -1 }
    bytes.removeFirst()
    let kind = Kind.allCases[Int(flags) % Kind.allCases.count]
    readRequest(bytes, kind)
    for isTagged in [false, true] { readAnswer(bytes, isTagged) }
    return 0
}

/// The descriptor on which a message comes.
private enum Kind: UInt8, CaseIterable {
    case device, outgoing, incoming, ended

    var isOutgoing: Bool? {
        switch self {
        case .outgoing: true
        case .incoming: false
        case .device, .ended: nil
        }
    }
}

private func readRequest(_ bytes: [UInt8], _ kind: Kind) {
    let isOnSession = kind != .device
    do throws(Malformed) {
        let request = try RequestDecoder(isOnSession: isOnSession, isOutgoing: kind.isOutgoing).request(bytes)
        check(refusal(of: bytes, kind) == nil, "taken, and not refused with \(refusal(of: bytes, kind) ?? 0)")
        check(request.tag == tag(of: bytes), "tag \(request.tag)")
        check(request.size >= request.call.length && request.body.count == request.call.length, "\(request.size) bytes")
        check(request.wantsReason == wantsReason(bytes), "reasons")
        readStruct(request)
        readAnswers(to: request, bytes)
    } catch {
        check(error.result == refusal(of: bytes, kind), "\(error.result), and not \(refusal(of: bytes, kind) ?? 0)")
        check(error.tag == tag(of: bytes), "tag \(error.tag)")
    }
}

/// The errno with which the device answers, in the order of its checks; nil for a request.
private func refusal(of bytes: [UInt8], _ kind: Kind) -> Int32? {
    let (invalid, fault, wrongType, tooBig): (Int32, Int32, Int32, Int32) = (-22, -14, -25, -7)
    guard bytes.count >= 4, let call = Call(rawValue: bytes[0]) else { return invalid }
    guard (bytes[0] & 0x40 != 0) == (kind != .device) else { return invalid }
    guard bytes.count >= 8 else { return fault }
    guard bytes[1] == 0xBA, bytes[2] == 0, bytes[3] == 0 else { return wrongType }
    if kind == .incoming && call.wantsOutgoing == true || kind == .outgoing && call.wantsOutgoing == false {
        return invalid
    }
    let size = Int(bytes[UInt32.self, at: 4])
    if size < call.length { return invalid }
    let end = min(bytes.count, 4 + size)
    if 4 + call.length < end, bytes[(4 + call.length)..<end].contains(where: { $0 != 0 }) { return tooBig }
    return end < 4 + size ? fault : nil
}

private func tag(of bytes: [UInt8]) -> UInt64 {
    guard bytes.count >= 8 else { return 0 }
    let end = 4 + Int(bytes[UInt32.self, at: 4])
    return bytes.count >= end + 8 ? bytes[UInt64.self, at: end] : 0
}

private func wantsReason(_ bytes: [UInt8]) -> Bool {
    let end = 4 + Int(bytes[UInt32.self, at: 4])
    return bytes.count >= end + 12 && bytes[UInt32.self, at: end + 8] & 1 != 0
}

/// Decodes answers to a request: the request's own answer is understood, and any other message is decoded as something.
private func readAnswers(to request: Request, _ bytes: [UInt8]) {
    var request = request
    if request.tag == 0 { request.tag = 1 }
    request.size = request.body.count
    var answer = Response(result: -5, tag: 0)
    answer.complete(for: request, LiveUpdateError(.ioError, String(decoding: bytes, as: UTF8.self)))
    check(answer.text.count <= ReasonText.most, "\(answer.text.count) bytes of text")
    check(ReplyDecoder(request).meaning(answer.bytes) == .answer(answer), "another answer")
    _ = ReplyDecoder(request).meaning(bytes)
    _ = ReasonText(bytes)
}

/// Reads the struct in each way that a call with a struct of this length uses.
private func readStruct(_ request: Request) {
    switch request.call.length {
    case 72:
        let call = NameCall(request.body)
        check(call.body.count == 72, "a name of \(call.body.count) bytes")
        check(NameCall(call.body) == call, "another name")
    case 16: check(FileCall(FileCall(request.body).body) == FileCall(request.body), "another file")
    case 24: check(StatusCall(StatusCall(request.body).body) == StatusCall(request.body), "another page")
    case 8: check(WordCall(body: WordCall(body: request.body).body) == WordCall(body: request.body), "another word")
    case UpdateCall.length:
        let call = UpdateCall(request.body)
        check(call.body.count == UpdateCall.length, "a struct of \(call.body.count) bytes")
        check(UpdateCall(call.body).flags == call.flags, "other flags")
    default: break
    }
}

private func readAnswer(_ bytes: [UInt8], _ isTagged: Bool) {
    _ = Response(refusing: bytes)
    guard let answer = Response(bytes, tagged: isTagged) else {
        return check(bytes.count < (isTagged ? 12 : 4), "no answer")
    }
    if let failure = answer.failure { check((1...4095).contains(failure), "errno \(failure)") }
    if !isTagged || answer.tag != 0 { check(answer.bytes == bytes, "another answer") }
}

// MARK: Seeds

/// Each call as a request, with and without a tag, longer than necessary, and cut short.
private func seeds() -> [Seed] {
    Call.allCases.flatMap { call in
        let kind: Kind = !call.isOnSession ? .device : call.wantsOutgoing == false ? .incoming : .outgoing
        var body = [UInt8](repeating: 0, count: call.length)
        body[UInt32.self, at: 0] = UInt32(call.length)
        if call.length >= 72 { for (index, byte) in "name".utf8.enumerated() { body[8 + index] = byte } }
        var longer = body + [0, 0, 0, 0]
        longer[UInt32.self, at: 0] = UInt32(longer.count)
        let request: ([UInt8], UInt64) -> [UInt8] = { [kind.rawValue] + Request(call, body: $0, tag: $1).bytes }
        return [
            ("\(call)", request(body, 0).dropLast(8)), ("\(call)-tagged", request(body, 7)),
            ("\(call)-reasons", [kind.rawValue] + Request(call, body: body, tag: 7, wantsReason: true).bytes),
            ("\(call)-longer", request(longer, 7)), ("\(call)-cut", request(body, 0).dropLast(12)),
        ].map { ($0.0, [UInt8]($0.1)) }
    }
}
