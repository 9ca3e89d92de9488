// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform
import Logging
import Testing

@testable import LiveUpdateDaemon

/// The lines of the log, in each format.
@Suite struct LogFormatTests {
    private func line(_ message: String, _ level: Logger.Level = .info, _ fields: Logger.Metadata = [:]) -> LogLine {
        LogLine(
            time: 1_796_131_200_123_000_000, level: level, process: "luod-keeper", number: 7, message: message,
            fields: fields)
    }

    @Test("A line in each format") func formats() {
        let event = line("session made", .info, ["user": .number(1000), "session": "vm"])
        #expect(
            LogFormat.text.text(event)
                == "2026-12-01T13:20:00.123Z info luod-keeper[7]: session made session=vm user=1000")
        #expect(
            LogFormat.json.text(event)
                == #"{"time":"2026-12-01T13:20:00.123Z","level":"info","process":"luod-keeper","pid":7,"#
                + #""message":"session made","session":"vm","user":1000}"#)
        #expect(LogFormat.journal.text(event) == "<6>luod-keeper[7]: session made session=vm user=1000")
    }

    @Test(
        "Each level has the priority of syslog(3)",
        arguments: [
            (Logger.Level.critical, 2), (.error, 3), (.warning, 4), (.notice, 5), (.info, 6), (.debug, 7), (.trace, 7),
        ])
    func priorities(level: Logger.Level, priority: Int) {
        #expect(LogFormat.journal.text(line("m", level)).hasPrefix("<\(priority)>"))
        #expect(LogFormat.text.text(line("m", level)).contains("Z \(level) luod-keeper"))
    }

    @Test(
        "A value that could be taken for something else is quoted",
        arguments: [
            ("vm", "vm", #""vm""#), ("a b", #""a b""#, #""a b""#), ("a=b", #""a=b""#, #""a=b""#), ("", #""""#, #""""#),
            (#"a"b\c"#, #""a\"b\\c""#, #""a\"b\\c""#),
            ("a\n<0>b", #"a\u{a}<0>b"#, #""a\u000a<0>b""#), ("\u{1b}[2J", #"\u{1b}[2J"#, #""\u001b[2J""#),
            ("\u{202e}\u{e0001}", #"\u{202e}\u{e0001}"#, #""\u202e\udb40\udc01""#), ("ä😀", "ä😀", #""ä😀""#),
        ])
    func quotes(value: String, plain: String, json: String) {
        let event = line("m", .info, ["k": "\(value)"])
        #expect(LogFormat.text.text(event).hasSuffix(": m k=\(plain)"))
        #expect(LogFormat.json.text(event).hasSuffix(#","k":\#(json)}"#))
    }

    @Test("No text of a user ends a line", arguments: LogFormat.allCases) func forged(format: LogFormat) {
        let forged = "x\n2026-12-01T12:00:00.123Z error luod-keeper[7]: all is lost\r\u{2028}"
        let text = format.text(line("session \"\(forged)\"", .info, ["session": "\(forged)"]))
        #expect(!text.contains { $0.isNewline })
    }

    @Test("A number is a number in JSON, and a time has milliseconds") func numbers() {
        let event = line(
            "m", .info, ["n": .number(UInt64.max), "t": .milliseconds(1_234_567), "s": "12"])
        #expect(LogFormat.json.text(event).hasSuffix(#","n":9223372036854775807,"s":"12","t":1.234}"#))
    }

    @Test("The journal's format is usual where standard error is a stream of the journal") func usual() {
        let error = FileIdentity(device: 9, inode: 12345)
        #expect(LogFormat.usual(journalStream: "9:12345", standardError: error) == .journal)
        for other in [nil, "", "9:1234", "9:123456", "8:12345", "x"] {
            #expect(LogFormat.usual(journalStream: other, standardError: error) == .text)
        }
        #expect(LogFormat.usual(journalStream: "9:12345", standardError: nil) == .text)
    }

    @Test("The phases of an update, and of a load") func phases() {
        let update = UpdatePhases(times: [1_000_000, 2_000_000, 4_000_000, 7_000_000, 11_000_000, 16_000_000])
        #expect(update.blackout == 14_000_000)
        let fields = update.fields.mapValues { "\($0)" }
        #expect(
            fields == [
                "load_ms": "1.0", "publish_ms": "2.0", "take_over_ms": "3.0", "switch_ms": "4.0", "answer_ms": "5.0",
                "blackout_ms": "14.0",
            ])
        let load = UpdatePhases(times: [1_000_000, 2_500_000])
        #expect(load.blackout == nil && load.fields.mapValues { "\($0)" } == ["load_ms": "1.5"])
    }

    @Test("The settings pass the format on, and are those of an earlier program without it") func settings() throws {
        var settings = Settings(state: "/s")
        let without = ControlMessage.settings(settings).bytes
        for format in LogFormat.allCases {
            settings.logFormat = format
            let bytes = ControlMessage.settings(settings).bytes
            #expect(bytes.starts(with: without) && bytes.count > without.count)
            #expect(ControlMessage(bytes) == .settings(settings))
            #expect(ControlMessage(bytes + [0]) == nil)
            for length in without.count + 1..<bytes.count {
                #expect(ControlMessage([UInt8](bytes.prefix(length))) == nil)
            }
        }
        let other = without + [1, 0, 0, 0, UInt8(ascii: "x")]
        #expect(ControlMessage(other) == nil, "an unknown format")
    }
}
