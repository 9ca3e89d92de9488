// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateMachine
import LiveUpdatePlatform
import TestSupport
import Testing

@testable import LiveUpdate

/// The messages between the two processes of a hand-over.
@Suite struct ImageMessageTests {
    private static let all: [ImageMessage] = [
        .hello(version: 7, process: 8), .hold([]), .hold([DescriptorSlot(64), DescriptorSlot(.max)]), .told,
        .update(.standby(formats: ["a", ""])), .update(.prepare(Extent(offset: 1, length: 2), attempt: 3)),
        .update(.prepared()), .update(.handOver(.update, note: [], attempt: 4)), .update(.ready), .update(.go),
        .update(.answered), .update(.failed("why", attempt: 5)),
    ]

    @Test("Each message is read back as it was written, and a shorter one is not accepted") func codec() {
        for message in Self.all {
            let bytes = message.bytes
            #expect(ImageMessage(bytes) == message)
            for length in 0..<bytes.count { #expect(ImageMessage([UInt8](bytes.prefix(length))) != message) }
        }
        #expect(ImageMessage([99, 0, 0, 0]) == nil && ImageMessage([]) == nil)
    }

    @Test("The greeting has the same form in all versions") func greeting() {
        #expect(ImageMessage.hello(version: 9, process: 5).bytes == Array("LUH!".utf8) + [9, 0, 0, 0, 5, 0, 0, 0])
    }

    @Test("Other bytes crash no reader") func garbage() {
        var random = SeededGenerator(seed: announcedSeed("ImageMessageTests"))
        for round in 0..<20_000 {
            var bytes = Self.all[round % Self.all.count].bytes
            bytes[random.index(below: bytes.count)] = UInt8.random(in: 0...255, using: &random)
            _ = ImageMessage([UInt8](bytes.prefix(random.index(below: bytes.count + 1))))
        }
    }
}
