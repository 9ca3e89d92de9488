// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateMachine
import LiveUpdatePlatform
import TestSupport
import Testing

@testable import LiveUpdateDaemon
@testable import LiveUpdateProtocol

/// Decoding of messages from the sockets. A malformed message is refused, and does nothing worse.
@Suite struct RequestTests {
    private func refusal(_ message: [UInt8], _ isOnSession: Bool, _ isOutgoing: Bool? = nil) -> Int32? {
        do throws(Malformed) {
            _ = try RequestDecoder(isOnSession: isOnSession, isOutgoing: isOutgoing).request(message)
            return nil
        } catch {
            return error.result
        }
    }

    @Test("Each call comes back as it was sent", arguments: Call.allCases) func roundTrip(call: Call) throws {
        var body = [UInt8](repeating: 0, count: call.length)
        body.replaceSubrange(0..<4, with: nativeBytes(UInt32(call.length)))
        let sent = Request(call, body: body, tag: 0x1122_3344_5566_7788)
        let decoder = RequestDecoder(isOnSession: call.isOnSession, isOutgoing: call.wantsOutgoing)
        #expect(try decoder.request(sent.bytes) == sent)
        #expect(refusal(sent.bytes, !call.isOnSession) == CallError.invalid)
        let answer = Response(result: -22, body: body, tag: 9)
        #expect(Response(answer.bytes, tagged: true) == answer)
    }

    @Test("A request with several faults gets the error that the device checks first") func order() {
        func message(_ command: UInt32, _ size: UInt32?, _ rest: [UInt8] = []) -> [UInt8] {
            nativeBytes(command) + (size.map { nativeBytes($0) } ?? []) + rest
        }
        let zeros = [UInt8](repeating: 0, count: 12)
        #expect(refusal([], true) == CallError.invalid)
        #expect(refusal(message(0xBB7F, nil), true) == CallError.invalid, "an unknown number before a missing size")
        #expect(refusal(message(0xBB41, nil), true, true) == CallError.fault, "a missing size before the type")
        #expect(refusal(message(0xBB41, 1), true, true) == CallError.wrongType, "the type before the direction")
        #expect(refusal(message(0xBA41, 1), true, true) == CallError.invalid, "the direction before the size")
        #expect(refusal(message(0xBA41, 15, zeros), true, false) == CallError.invalid)
        #expect(refusal(message(0xBA41, 24, zeros + [1]), true, false) == CallError.tooBig, "before what is missing")
        #expect(refusal(message(0xBA41, 24, zeros + [0]), true, false) == CallError.fault)
        #expect(refusal(message(0xBA41, 24, zeros + [UInt8](repeating: 0, count: 8)), true, false) == nil)
        #expect(refusal(message(0xBA41, .max, zeros), true, false) == CallError.fault)
    }

    @Test func randomBytesNeverCrash() {
        var random = SeededGenerator(seed: announcedSeed("RequestTests"))
        for _ in 0..<Scale.count(100_000) {
            var bytes = (0..<random.index(below: 90)).map { _ in UInt8.random(in: 0...255, using: &random) }
            if bytes.count > 4, let call = Call.allCases.randomElement(using: &random), Bool.random(using: &random) {
                bytes.replaceSubrange(0..<4, with: nativeBytes(call.command))
                if bytes.count >= 8 { bytes.replaceSubrange(4..<8, with: nativeBytes(UInt32(call.length))) }
            }
            for isOnSession in [false, true] { _ = refusal(bytes, isOnSession, Bool.random(using: &random)) }
            _ = Response(bytes, tagged: true)
            _ = ControlMessage(bytes)
            bytes.replaceSubrange(0..<min(4, bytes.count), with: nativeBytes(UInt32.random(in: 0...20, using: &random)))
            _ = ControlMessage(bytes)
            _ = HandOverNote(bytes)
        }
    }

    @Test func controlMessagesComeBack() {
        let held = HeldSlot(slot: .init(7), kind: .session)
        let all: [ControlMessage] = [
            .hold([]), .hold([held, held]), .begin(.successorInUpdate, nextSlot: 9),
            .begin(.successor, nextSlot: 9, after: "signal 9"), .keep(held), .release([.init(1)]),
            .load(image: "/x", attempt: 3), .update(.standby(formats: ["a-v1", "b-v1"], attempt: 2)),
            .update(.standby(formats: [])), .update(.prepare(Extent(offset: 64, length: 8), attempt: 2)),
            .update(.prepared(attempt: 3)), .update(.answered),
            .update(.handOver(.reload, note: [1, 2, 3], attempt: 7)), .update(.ready), .update(.go),
            .update(.failed("why")), .update(.failed("why", attempt: 1)), .adopt, .adopted(process: 5, nextSlot: 6),
            .begin(.restored, nextSlot: 9, after: "signal 9", pause: 1600), .cannotBegin(StartFailure(.data, "why")),
            .stored(true), .stored(false), .ending, .publishAtEnd(flags: 34), .stop,
        ]
        for message in all { #expect(ControlMessage(message.bytes) == message) }
        let long = "e" + String(repeating: "\u{301}", count: 100_000)
        #expect(
            ControlMessage.update(.failed(long)).bytes.count < 2000, "one character that would overflow the message")
    }
}
