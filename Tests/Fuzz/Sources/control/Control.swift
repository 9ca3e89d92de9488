// SPDX-License-Identifier: Apache-2.0
import FuzzSupport

@testable import LiveUpdateDaemon

// Decodes a message of the control link between the processes of luod. An input is the message, which the decoder
// accepts or refuses. An accepted message is the same after it is written and read again.

@_cdecl("LLVMFuzzerInitialize")
public func initialize(_: UnsafeMutableRawPointer?, _: UnsafeMutableRawPointer?) -> CInt {
    writeSeedsIfAsked { seeds() }
    return 0
}

@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = unsafe input(start, count)
    guard let message = ControlMessage(bytes) else { return 0 }
    let written = message.bytes
    guard let again = ControlMessage(written) else { fault("\(message) cannot be read") }
    // Writing shortens a long text, and replaces bytes that are not UTF-8.
    check(again == message || ControlMessage(again.bytes) == again, "\(again), and not \(message)")
    return 0
}

// MARK: Seeds

/// Messages of each number with several contents: zeros, a small number in each word, texts. The corpus keeps the
/// messages that the decoder reads in different ways.
private func seeds() -> [Seed] {
    (0..<64).flatMap { number in
        contents.map { name, content in ("\(number)-\(name)", word(UInt32(number)) + content) }
    }
}

private let contents: [Seed] = [
    ("empty", []),
    ("byte", [1]),
    ("zeros", [UInt8](repeating: 0, count: 64)),
    ("ones", (0..<16).flatMap { _ in word(1) }),
    ("fours", (0..<16).flatMap { _ in word(4) }),
    ("text", word(5) + [UInt8]("luod!".utf8)),
    ("attempt-and-texts", word(3) + word(4) + [UInt8]("luod".utf8) + word(2) + [UInt8]("ok".utf8)),
    ("byte-word-text", [1] + word(7) + word(0) + word(3) + [UInt8]("why".utf8) + word(9) + word(0)),
    ("descriptors", (0..<3).flatMap { slot in [slot, 0, 6, 1000, 0, 1, 8, 0].flatMap(word) }),
]

private func word(_ value: UInt32) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: 4)
    bytes[UInt32.self, at: 0] = value
    return bytes
}
