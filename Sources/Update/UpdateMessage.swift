// SPDX-License-Identifier: Apache-2.0
package import LiveUpdateHandover
package import LiveUpdatePlatform

/// The messages of an update and of a reload, to the next image and from it. luod's keeper passes some of them on to
/// the old boot and from it. The old process of an embedded service starts its next image itself.
///
/// - next image: `standby` when it reads, and again when it holds all descriptors and is ready to take over;
///   `prepared`; `ready` when it has opened the state on trial, or `failed`; `answered` when it serves.
/// - to the next image: `prepare`; `handOver` with the ``CommitBaton``; `go`.
///
/// The old boot numbers the images that it starts (`attempt`), so that a message about an earlier image is not mistaken
/// for one about the next.
package enum UpdateMessage: Equatable, Sendable {
    /// - Parameters:
    ///   - formats: the compatible strings that the image knows.
    ///   - attempt: the number of the image, in a message to the old boot.
    case standby(formats: [String], attempt: UInt32 = 0)
    /// The place in the arena of the draft of the next tree.
    case prepare(Extent, attempt: UInt32)
    /// The image has read as much of the draft as it could.
    case prepared(attempt: UInt32 = 0)
    case handOver(HandOverKind, note: [UInt8], attempt: UInt32)
    case ready
    case answered
    case go
    /// - Parameter attempt: the number of the image, in a message to the old boot or from it.
    case failed(String, attempt: UInt32 = 0)

    /// The type of a message, its first word. The other numbers belong to the links that carry these messages: luod's
    /// control link, and the link of a hand-over.
    package enum Number: UInt32 {
        case standby = 6
        case handOver, ready, go, failed
        case prepare = 13
        case prepared, answered
    }

    /// The encoded message.
    package var bytes: [UInt8] {
        var writer = ByteWriter(capacity: 64)
        func begin(_ number: Number, _ attempt: UInt32? = nil) {
            writer.put(number.rawValue)
            if let attempt { writer.put(attempt) }
        }
        switch self {
        case .standby(let formats, let attempt):
            begin(.standby, attempt)
            for format in formats { writer.put(counted: format) }
        case .prepare(let draft, let attempt):
            begin(.prepare, attempt)
            writer.put(draft.offset)
            writer.put(draft.length)
        case .prepared(let attempt): begin(.prepared, attempt)
        case .handOver(let what, let note, let attempt):
            begin(.handOver, attempt)
            writer.put(what.rawValue)
            writer.put(note)
        case .ready: begin(.ready)
        case .answered: begin(.answered)
        case .go: begin(.go)
        case .failed(let why, let attempt):
            begin(.failed, attempt)
            writer.put(counted: why.cut(toBytes: 1000))
        }
        return writer.bytes
    }

    /// Decodes a message of an update.
    ///
    /// - Returns: nil for a message of another type.
    /// - Throws: `record` for a message that is too short or has an unknown value.
    package static func read(_ bytes: [UInt8]) throws(ArenaError) -> UpdateMessage? {
        var reader = ByteReader(bytes, "message of an update")
        guard let number = Number(rawValue: try reader.take()) else { return nil }
        switch number {
        case .standby:
            let attempt = try reader.take(UInt32.self)
            var formats: [String] = []
            while !reader.isAtEnd { formats.append(try reader.takeCountedString()) }
            return .standby(formats: formats, attempt: attempt)
        case .prepare:
            let attempt = try reader.take(UInt32.self)
            return .prepare(Extent(offset: try reader.take(), length: try reader.take()), attempt: attempt)
        case .prepared: return .prepared(attempt: try reader.take())
        case .handOver:
            let attempt = try reader.take(UInt32.self)
            let kind = try reader.take(UInt8.self)
            guard let what = HandOverKind(rawValue: kind) else {
                throw ArenaError(.record, "a hand-over of kind \(kind)")
            }
            return .handOver(what, note: [UInt8](bytes.dropFirst(9)), attempt: attempt)
        case .ready: return .ready
        case .answered: return .answered
        case .go: return .go
        case .failed:
            let attempt = try reader.take(UInt32.self)
            return .failed(try reader.takeCountedString(), attempt: attempt)
        }
    }
}

extension String {
    /// The beginning of the text, at most this many bytes long. One character can have any number of bytes.
    package func cut(toBytes most: Int) -> String {
        utf8.count <= most ? self : String(decoding: utf8.prefix(most), as: UTF8.self)
    }
}
