// SPDX-License-Identifier: Apache-2.0
import Logging
import Testing

@testable import LiveUpdateDaemon

/// Log lines that are written, and repeated lines that are only counted.
@Suite struct LogLimiterTests {
    private static let second = LogLimiter.window
    private let kind = LogLimiter.Kind(file: "a", line: 1)
    private let other = LogLimiter.Kind(file: "a", line: 2)

    @Test("The first lines in a second are written, and then a count with the last one") func counts() {
        var limiter = LogLimiter()
        for number in 1...100 {
            #expect(limiter.takeOmissions(at: 0) == [])
            #expect(limiter.admits(.init(text: "line \(number)"), of: kind, at: 0) == (number <= LogLimiter.most))
        }
        let isOtherAdmitted = limiter.admits(.init(text: "another"), of: other, at: 0)
        #expect(isOtherAdmitted, "another kind")
        #expect(limiter.hasOmissions)
        #expect(limiter.takeOmissions(at: Self.second - 1) == [])
        #expect(limiter.takeOmissions(at: Self.second) == [.init(count: 95, last: .init(text: "line 100"))])
        #expect(!limiter.hasOmissions)
        #expect(limiter.takeOmissions(at: 2 * Self.second) == [])
    }

    @Test("The count has the level and the fields of the last line") func fields() {
        var limiter = LogLimiter()
        let last = LogLimiter.Entry(text: "line", level: .warning, fields: ["client_user": "1"])
        for _ in 0...LogLimiter.most { _ = limiter.admits(last, of: kind, at: 0) }
        #expect(limiter.takeOmissions(at: Self.second) == [.init(count: 1, last: last)])
    }

    @Test("A kind of line may be written again after a second") func beginsAgain() {
        var limiter = LogLimiter()
        var written = 0
        // This writes 10 lines in each of 10 seconds.
        for tenth: UInt64 in 0..<100 {
            let now = tenth * Self.second / 10
            _ = limiter.takeOmissions(at: now)
            if limiter.admits(.init(text: "line"), of: kind, at: now) { written += 1 }
        }
        #expect(written == 10 * LogLimiter.most)
    }

    @Test("Rare lines are always written") func rare() {
        var limiter = LogLimiter()
        for number: UInt64 in 0..<50 {
            let now = number * Self.second / 4
            #expect(limiter.takeOmissions(at: now) == [])
            let isAdmitted = limiter.admits(.init(text: "line"), of: kind, at: now)
            #expect(isAdmitted)
        }
    }
}
