// SPDX-License-Identifier: Apache-2.0
import Foundation
import LiveUpdateProtocol
import TestSupport
import Testing

/// JSON as luod's clients read it. Foundation reads the same.
@Suite struct JSONValueTests {
    @Test("Values of every kind") func values() {
        let text =
            #" {"a" : [1, -20, 1.5e+3, true, false, null, "x", [], {}], "a b":{"c":"\u00e4\ud83d\ude00\"\\\/\b\f\n\r\t"}} "#
        let value = JSONValue(text.utf8)
        #expect(
            value?["a"]
                == .array([
                    .number("1"), .number("-20"), .number("1.5e+3"), .bool(true), .bool(false), .null, .string("x"),
                    .array([]), .object([:]),
                ]))
        #expect(value?["a b"]?["c"]?.string == "ä😀\"\\/\u{8}\u{c}\n\r\t")
        #expect(value?["b"] == nil && value?["a"]?["c"] == nil)
    }

    @Test("An integer must fit, and has no fraction") func integers() {
        #expect(JSONValue("18446744073709551615".utf8)?.integer(UInt64.self) == .max)
        for text in ["18446744073709551616", "-1", "1.0", "1e3", "null", "\"1\""] {
            #expect(JSONValue(text.utf8)?.integer(UInt64.self) == nil, "\(text)")
        }
        #expect(JSONValue("-5".utf8)?.integer(Int32.self) == -5)
    }

    @Test(
        "Other bytes are refused",
        arguments: [
            "", " ", "{", "}", "[1,]", "[1 2]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}", "01", "1.", "-", "+1",
            ".5", "1e", "tru",
            "nul", "\"", "\"\\x\"", "\"\\u12\"", "\"\\u+123\"", "\"\\u-123\"", "\"\\ud83d\"", "\"\\ud83dx\"",
            "\"\\ude00\"", "\"\n\"", "1 2", "[",
            "\\",
        ])
    func refused(text: String) { #expect(JSONValue(text.utf8) == nil) }

    @Test("Deep nesting is refused, and does not exhaust the stack") func depth() {
        func nested(_ depth: Int) -> [UInt8] {
            [UInt8](repeating: UInt8(ascii: "["), count: depth) + [UInt8](repeating: UInt8(ascii: "]"), count: depth)
        }
        #expect(JSONValue(nested(60)) != nil)
        #expect(JSONValue(nested(1_000_000)) == nil)
    }

    @Test("Changed and cut lines are refused or read as Foundation reads them") func changed() {
        var random = SeededGenerator(seed: announcedSeed("JSONValueTests"))
        let text = Array(
            #"{"file":{"token":"7","compatible":"memfd-v1","size":null,"retrieved":-5,"problem":"a\n\u00e4"}}"#.utf8)
        for _ in 0..<Scale.count(3000) {
            var bytes = text
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                let place = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: bytes[place] = #"{}[]",:\u019-e. n"#.utf8.randomElement(using: &random) ?? 0
                case 1: bytes.remove(at: place)
                default: bytes.insert(bytes.randomElement(using: &random) ?? 0, at: place)
                }
            }
            let foundation = try? JSONSerialization.jsonObject(with: Data(bytes), options: .fragmentsAllowed)
            if foundation != nil { #expect(JSONValue(bytes) != nil, "\(String(decoding: bytes, as: UTF8.self))") }
            _ = LuodStatus.Line(json: bytes)
        }
    }
}
