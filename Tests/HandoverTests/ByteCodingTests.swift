// SPDX-License-Identifier: Apache-2.0
import LiveUpdateHandover
import Testing

@Suite struct ByteCodingTests {
    @Test func integersComeBackInNativeOrder() throws {
        var writer = ByteWriter()
        writer.put(UInt16(0x0102))
        writer.put(UInt64.max)
        writer.put(Int64(-2))
        #expect([UInt8](writer.bytes.prefix(2)) == [2, 1])
        var reader = ByteReader(writer.bytes, "test")
        #expect(try reader.take(UInt16.self) == 0x0102)
        #expect(try reader.take(UInt64.self) == .max)
        #expect(try reader.take(Int64.self) == -2)
        #expect(reader.isAtEnd)
    }

    @Test(arguments: ["", "a", "seven b", "eight by"]) func fixedStringsAlwaysEndWithNUL(text: String) throws {
        var writer = ByteWriter()
        writer.put(text, fixed: 8)
        #expect(writer.bytes.count == 8)
        #expect(writer.bytes.last == 0)
        var reader = ByteReader(writer.bytes, "test")
        #expect(try reader.takeString(fixed: 8) == String(text.prefix(7)))
    }

    @Test func countedStringsComeBack() throws {
        let text = String(repeating: "ü", count: 300)
        var writer = ByteWriter()
        writer.put(counted: text)
        var reader = ByteReader(writer.bytes, "test")
        #expect(try reader.takeCountedString() == text)
        #expect(reader.isAtEnd)
    }

    @Test func whatIsTooShortIsAnErrorThatNamesIt() {
        for count in 0..<8 {
            let error = arenaFailure {
                var reader = ByteReader([UInt8](repeating: 1, count: count), "superblock")
                return try reader.take(UInt64.self)
            }
            #expect(error?.gate == .record)
            #expect(error?.reason == "superblock ends after \(count) bytes")
        }
        let negative = arenaFailure {
            var reader = ByteReader([1, 2, 3], "test")
            return try reader.take(count: -1)
        }
        #expect(negative?.gate == .record)
    }

    @Test func stringsThatAreNone() {
        for bytes in [[UInt8](repeating: 65, count: 8), [0xFF, 0xFE, 0, 0, 0, 0, 0, 0], [0xC3, 0, 0, 0, 0, 0, 0, 0]] {
            let error = arenaFailure {
                var reader = ByteReader(bytes, "name")
                return try reader.takeString(fixed: 8)
            }
            #expect(error?.gate == .record, "\(bytes)")
        }
    }
}
