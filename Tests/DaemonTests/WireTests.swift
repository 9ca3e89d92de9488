// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import SystemPackage
import TestSupport
import Testing

@testable import LiveUpdateDaemon
@testable import LiveUpdateProtocol

/// The bytes of requests and answers with and without reasons.
@Suite struct WireTests {
    private let error = LiveUpdateError(.fileExists, "it exists", remedy: "use another")

    private func request(_ call: Call, tag: UInt64 = 7, wantsReason: Bool, longer: Int = 0) throws -> Request {
        let size = call.length + longer
        var bytes = nativeBytes(call.command) + nativeBytes(UInt32(size)) + [UInt8](repeating: 0, count: size - 4)
        bytes += nativeBytes(tag) + (wantsReason ? nativeBytes(UInt32(1)) : [])
        return try RequestDecoder(isOnSession: call.isOnSession, isOutgoing: call.wantsOutgoing).request(bytes)
    }

    // MARK: Requests

    @Test("Bit 0 of the flags after the tag asks for reasons", arguments: Call.allCases) func flags(call: Call) throws {
        #expect(try request(call, wantsReason: true).wantsReason)
        #expect(try !request(call, wantsReason: false).wantsReason)
        let sent = Request(call, body: try request(call, wantsReason: true).body, tag: 9, wantsReason: true)
        let decoder = RequestDecoder(isOnSession: call.isOnSession, isOutgoing: call.wantsOutgoing)
        #expect(try decoder.request(sent.bytes) == sent)
        for flags: UInt32 in [0, 2, 0xFFFF_FFFE] {
            #expect(try !decoder.request(sent.bytes.dropLast(4) + nativeBytes(flags)).wantsReason)
        }
        #expect(try !decoder.request([UInt8](sent.bytes.dropLast())).wantsReason, "flags that are not all there")
    }

    @Test("A message that is no request says why, with its tag, and with its struct if it is complete") func malformed()
    {
        let decoder = RequestDecoder(isOnSession: true, isOutgoing: true)
        func refusal(_ bytes: [UInt8]) -> Malformed? {
            do throws(Malformed) {
                _ = try decoder.request(bytes)
                return nil
            } catch {
                return error
            }
        }
        let tail = nativeBytes(UInt64(5)) + nativeBytes(UInt32(1))
        let unknown = nativeBytes(UInt32(0xBA7F)) + nativeBytes(UInt32(8)) + nativeBytes(UInt32(3))
        let refused = refusal(unknown + tail)
        #expect(refused?.result == -22 && refused?.tag == 5 && refused?.wantsReason == true)
        #expect(refused?.structure == [UInt8](unknown.dropFirst(4)))
        #expect(refused?.error.reason.contains("0x7f") == true)
        #expect(refusal(unknown + nativeBytes(UInt64(5)))?.wantsReason == false)
        #expect(refusal(nativeBytes(UInt32(0xBA7F)) + nativeBytes(UInt32.max))?.structure == [])
        let direction = nativeBytes(UInt32(0xBA41)) + nativeBytes(UInt32(16)) + [UInt8](repeating: 0, count: 12)
        #expect(refusal(direction + tail)?.error.reason.contains("outgoing") == true)
    }

    /// The error for a call on a session of some direction, or on the connection: nil.
    private func refusal(of call: Call, isOnSession: Bool, isOutgoing: Bool? = nil) throws -> LiveUpdateError? {
        let bytes = try request(call, wantsReason: true).bytes
        do throws(Malformed) {
            _ = try RequestDecoder(isOnSession: isOnSession, isOutgoing: isOutgoing).request(bytes)
            return nil
        } catch {
            return error.error
        }
    }

    @Test("A call on the wrong descriptor says which one to use", arguments: Call.allCases)
    func wrongDescriptor(call: Call) throws {
        let error = try #require(try refusal(of: call, isOnSession: !call.isOnSession))
        #expect(error.errno == .invalidArgument)
        let needs = call.isOnSession ? "needs a session" : "needs the connection"
        #expect(error.reason.contains("\(call) \(needs)"), "\(error)")
        #expect(error.remedy?.contains(call.isOnSession ? "CREATE_SESSION" : "the connection") == true, "\(error)")
    }

    @Test(
        "A call on a session of the wrong direction says what to do instead",
        arguments: [
            (.get, "retrieve the file"), (.unpreserve, "finish the session"), (.preserve, "preserve in a new one"),
            (.preserveHeld, "preserve in a new one"), (.check, "preserve in a new one"), (.retrieve, "GET_FD"),
            (.retrieveAsHeld, "GET_FD"), (.finish, "close the session"),
        ] as [(Call, String)])
    func wrongDirection(call: Call, remedy: String) throws {
        let wanted = call.wantsOutgoing == true
        let error = try #require(try refusal(of: call, isOnSession: true, isOutgoing: !wanted))
        #expect(error.errno == .invalidArgument)
        #expect(error.remedy?.contains(remedy) == true, "\(error)")
        #expect(try refusal(of: call, isOnSession: true, isOutgoing: wanted) == nil)
    }

    // MARK: Answers

    @Test("Without the flag a failure is result and tag", arguments: Call.allCases) func plain(call: Call)
        throws
    {
        let request = try request(call, wantsReason: false)
        let bytes = Reply(error).completed(for: request).response.bytes
        #expect(bytes == nativeBytes(Int32(-17)) + nativeBytes(UInt64(7)))
        let done = Reply(0, body: request.body).completed(for: request).response.bytes
        #expect(done == nativeBytes(Int32(0)) + request.body + nativeBytes(UInt64(7)))
    }

    @Test(
        "With the flag the struct is as long as in the request, and the reason follows the tag",
        arguments: [0, 1, 100])
    func reason(longer: Int) throws {
        for call in Call.allCases {
            let request = try request(call, wantsReason: true, longer: longer)
            let structure = request.body + [UInt8](repeating: 0, count: longer)
            let bytes = Reply(error).completed(for: request).response.bytes
            #expect(
                bytes == nativeBytes(Int32(-17)) + structure + nativeBytes(UInt64(7))
                    + [UInt8]("it exists\nuse another".utf8))
            let done = Reply(0, body: request.body).completed(for: request).response.bytes
            #expect(done == nativeBytes(Int32(0)) + structure + nativeBytes(UInt64(7)))
        }
    }

    @Test("A client understands its own answers, and no others") func decoding() throws {
        let request = try request(.preserve, wantsReason: true)
        let decoder = ReplyDecoder(request)
        let answer = Reply(error).completed(for: request).response
        #expect(decoder.meaning(answer.bytes) == .answer(answer))
        #expect(ReasonText(answer.text) == ReasonText(error))
        #expect(decoder.meaning(nativeBytes(Int32(-24))) == .refusal(Response(refusingWith: -24)))
        let old = Response(result: -17, tag: 7)
        #expect(decoder.meaning(old.bytes) == .answer(old), "a luod that does not know of reasons")
        #expect(decoder.meaning(Response(result: 0, body: request.body, tag: 8).bytes) == .other)
        #expect(decoder.meaning(Response(result: 0, body: [1, 2, 3], tag: 8).bytes) == .other, "a shorter struct")
        #expect(decoder.meaning(Response(result: 0, body: [1, 2, 3], tag: 7).bytes) == .malformed)
        #expect(decoder.meaning([1, 2, 3]) == .malformed)
        #expect(decoder.meaning([]) == .malformed)
        let unflagged = ReplyDecoder(try self.request(.preserve, wantsReason: false))
        #expect(unflagged.meaning(old.bytes) == .answer(old))
    }

    // MARK: Text

    @Test("A reason has at most 1,024 bytes, is cut at a character, and keeps its remedy") func long() {
        for character in ["a", "ä", "€", "😀", "\u{7}", "e\u{301}"] {
            for count in [100, 1000, 1023, 1024, 1025, 5000] {
                let text = ReasonText(
                    LiveUpdateError(.ioError, String(repeating: character, count: count), remedy: "the remedy"))
                #expect(text.bytes.count <= 1024)
                #expect(String(validating: text.bytes, as: UTF8.self) != nil)
                #expect(text.remedy == "the remedy")
                #expect(ReasonText(text.bytes) == text)
                #expect(!text.reason.unicodeScalars.contains { !$0.isPrintable })
            }
            let both = ReasonText(
                LiveUpdateError(
                    .ioError, String(repeating: character, count: 3000),
                    remedy: String(repeating: character, count: 3000)))
            #expect(both.bytes.count <= 1024 && both.reason.utf8.count > 500)
        }
    }

    @Test("A character that controls a terminal is written as its bytes") func escaped() {
        let text = ReasonText(LiveUpdateError(.ioError, "a\u{1B}[2Jb\nc\u{202E}d", remedy: "x\r\ny"))
        #expect(text.reason == "a\\x1b[2Jb\\x0ac\\xe2\\x80\\xaed")
        #expect(text.remedy == "x\\x0d\\x0ay")
        #expect(ReasonText([]) == nil)
        #expect(ReasonText([UInt8]("only\n".utf8))?.remedy == nil)
    }

    @Test("A remedy of the core's own interface is replaced by one of luoctl; others stay") func remedies() {
        for (key, words) in LuoctlRemedies.remedies {
            let error = LiveUpdateError(Errno(rawValue: key.errno), "why", remedy: key.remedy)
            #expect(LuoctlRemedies.adapted(error) == LiveUpdateError(error.errno, "why", remedy: words))
            #expect(LuoctlRemedies.adapted(LiveUpdateError(.ioError, "why", remedy: key.remedy)).remedy == key.remedy)
        }
        #expect(LuoctlRemedies.adapted(error) == error)
    }
}
