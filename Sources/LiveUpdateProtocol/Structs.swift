// SPDX-License-Identifier: Apache-2.0
package import LiveUpdateCore
import LiveUpdateHandover

/// `u32 size, s32 fd, u8 name[64]`: CREATE_SESSION, RETRIEVE_SESSION. ATTACH_SESSION (``AttachedDirection``) and
/// GET_NAME (reserved) have a u32 instead of the descriptor.
package struct NameCall: Equatable, Sendable {
    /// The name; nil when the field is empty or has no NUL. CREATE_SESSION refuses this, and other calls find no
    /// session.
    package var name: SessionName?
    /// The descriptor, or the number instead of it.
    package var word: UInt32

    /// Makes a struct to send.
    package init(_ name: SessionName, word: UInt32 = .max) {
        self.name = name
        self.word = word
    }

    /// Reads a struct of the right length.
    package init(_ body: [UInt8]) {
        word = body.number(UInt32.self, at: 4) ?? 0
        let field = body[8..<72]
        let end = field.firstIndex(of: 0)
        name = end.flatMap { $0 == field.startIndex ? nil : SessionName(bytes: field[..<$0]) }
    }

    /// The struct.
    package var body: [UInt8] {
        var writer = ByteWriter(capacity: 72)
        writer.put(UInt32(72))
        writer.put(word)
        let bytes = [UInt8](name?.bytes.prefix(64) ?? [])
        writer.put(bytes)
        writer.pad(64 - bytes.count)
        return writer.bytes
    }
}

/// The direction in ATTACH_SESSION. An incoming and an outgoing session may have the same name.
package enum AttachedDirection: UInt32, Sendable {
    /// Either direction. If both an incoming and an outgoing session have this name, the outgoing one is used.
    case any = 0
    case outgoing = 1
    case incoming = 2
}

/// `u32 size, s32 fd, u64 token`: PRESERVE_FD, RETRIEVE_FD, and luod's own calls about one file.
package struct FileCall: Equatable, Sendable {
    /// The descriptor. It has no meaning on a socket, because there the descriptor comes with the message.
    package var descriptor: Int32
    /// The token of the file in its session.
    package var token: UInt64
    /// The length of the struct in bytes.
    package static let length = 16
    /// In GET_ATTESTATION, in place of the descriptor: return the file, and not its checksums.
    package static let looksAtFile: Int32 = 1

    /// Makes a struct to send.
    package init(token: UInt64, descriptor: Int32 = -1) {
        self.token = token
        self.descriptor = descriptor
    }

    /// Reads a struct of the right length.
    package init(_ body: [UInt8]) {
        descriptor = body.number(Int32.self, at: 4) ?? -1
        token = body.number(UInt64.self, at: 8) ?? 0
    }

    /// The struct.
    package var body: [UInt8] {
        var writer = ByteWriter(capacity: 16)
        writer.put(UInt32(16))
        writer.put(descriptor)
        writer.put(token)
        return writer.bytes
    }
}

/// The role of a descriptor, in the answer to IDENTIFY. This call has the struct ``FileCall``, with the role as the
/// descriptor and the cookie as the token.
package enum DescriptorRole: Int32, Sendable {
    /// An opened device.
    case device = 0
    /// A session of this boot.
    case outgoing = 1
    /// A session that was handed over.
    case incoming = 2
    /// A descriptor of a boot that has ended. Every call on it fails with ENODEV.
    case dead = 3
}

/// `u32 size, u32 word`: FINISH, SERVE and PING (reserved), SET_DETACHED and SUBSCRIBE (0 or 1), OPEN_DEVICE and
/// AS_USER (the user).
package struct WordCall: Equatable, Sendable {
    /// The number in the struct.
    package var word: UInt32

    /// Makes a struct to send.
    package init(_ word: UInt32 = 0) { self.word = word }

    /// Reads a struct of the right length.
    package init(body: [UInt8]) { word = body.number(UInt32.self, at: 4) ?? 0 }

    /// The struct.
    package var body: [UInt8] {
        var writer = ByteWriter(capacity: 8)
        writer.put(UInt32(8))
        writer.put(word)
        return writer.bytes
    }
}

/// `u32 size, u32 reserved, u64 question`: READY.
package struct ReadyCall: Equatable, Sendable {
    /// The reserved field, which is 0.
    package var reserved: UInt32
    /// The number in the notice *freeze soon*.
    package var question: UInt64

    /// Makes a struct to send.
    package init(_ question: UInt64, reserved: UInt32 = 0) {
        self.reserved = reserved
        self.question = question
    }

    /// Reads a struct of the right length.
    package init(body: [UInt8]) {
        reserved = body.number(UInt32.self, at: 4) ?? 0
        question = body.number(UInt64.self, at: 8) ?? 0
    }

    /// The struct.
    package var body: [UInt8] {
        var writer = ByteWriter(capacity: 16)
        writer.put(UInt32(16))
        writer.put(reserved)
        writer.put(question)
        return writer.bytes
    }
}

/// `u32 size, u32 boot, u64 session, u64 file`: STATUS. Zeros request the first page. The answer has the request for
/// the next page, or zeros after the last page.
package struct StatusCall: Equatable, Sendable {
    /// The boot of the position; 0 in the request for the first page.
    package var boot: UInt32
    /// The number of the last session on the page before.
    package var session: UInt64
    /// The number of the last file of that session on the page before, or 0.
    package var file: UInt64
    static let length = 24

    /// Makes a struct to send.
    package init(boot: UInt32 = 0, session: UInt64 = 0, file: UInt64 = 0) {
        self.boot = boot
        self.session = session
        self.file = file
    }

    /// Reads a struct of the right length.
    package init(_ body: [UInt8]) {
        boot = body.number(UInt32.self, at: 4) ?? 0
        session = body.number(UInt64.self, at: 8) ?? 0
        file = body.number(UInt64.self, at: 16) ?? 0
    }

    /// Whether this requests the first page. In an answer: whether there is no further page.
    package var isFirst: Bool { self == StatusCall() }

    /// The struct.
    package var body: [UInt8] {
        var writer = ByteWriter(capacity: Self.length)
        writer.put(UInt32(Self.length))
        writer.put(boot)
        writer.put(session)
        writer.put(file)
        return writer.bytes
    }
}

/// `u32 size, u32 flags, u64 times[6], u8 text[4096]`: LOAD, UPDATE, RELOAD, STOP, REMOVE_SESSION, KERNEL_UPDATE. In a
/// request the text names the image (empty for the current one) or the session, and ends with a NUL; STOP and
/// KERNEL_UPDATE have none. In the answer the text explains the result.
package struct UpdateCall: Equatable, Sendable {
    static let length = 8 + 6 * 8 + 4096

    /// UPDATE, KERNEL_UPDATE: lose unfinished incoming sessions. STOP: lose the sessions and files that end with luod.
    package static let discard: UInt32 = 1
    /// UPDATE, KERNEL_UPDATE: continue without the files that cannot be frozen.
    package static let leaveOut: UInt32 = 2
    /// KERNEL_UPDATE: publish only when luod ends.
    package static let atEnd: UInt32 = 32
    /// KERNEL_UPDATE: publish nothing, and only answer which sessions and files would be lost.
    package static let onlyAsk: UInt32 = 64
    /// KERNEL_UPDATE: take an earlier `atEnd` back, so that luod publishes nothing when it ends.
    package static let forget: UInt32 = 128
    /// KERNEL_UPDATE: only answer whether the state is still published for this client. ECANCELED if not.
    package static let confirm: UInt32 = 256
    /// KERNEL_UPDATE, with `atEnd`: start no process that holds memory files after the end of luod, because the service
    /// manager would wait for its end. No memory file goes to the next kernel then.
    package static let withoutHolder: UInt32 = 512
    /// UPDATE: continue without the subscribers that are not ready in time.
    package static let withoutReady: UInt32 = 16
    /// RELOAD: replace the program of the keeper instead of the orchestrator's.
    package static let keeper: UInt32 = 8
    /// REMOVE_SESSION: the session that was made in this boot.
    package static let outgoing: UInt32 = 1
    /// REMOVE_SESSION: the session that the last update handed over.
    package static let incoming: UInt32 = 2
    /// REMOVE_SESSION: remove the session even if a client holds it, or if a handler cannot finish yet.
    package static let force: UInt32 = 4

    /// The flags that are set.
    package var flags: UInt32
    /// The time when each phase ended, in nanoseconds of CLOCK_MONOTONIC: asked, loaded, frozen and published, taken
    /// over, switched, answered. In a request, the first is the time when the client sent it, or 0. A request that was
    /// sent while another update ran fails with EBUSY. In the request of an UPDATE, the second is how long luod waits
    /// until all subscribers are ready, in nanoseconds; 0 is the default.
    package var times: [UInt64]
    /// The path of the image, or the explanation.
    package var text: String

    /// Makes a struct to send.
    package init(flags: UInt32 = 0, times: [UInt64] = [], text: String = "") {
        self.flags = flags
        self.times = times
        self.text = text
    }

    /// Reads a struct of the right length.
    package init(_ body: [UInt8]) {
        flags = body.number(UInt32.self, at: 4) ?? 0
        times = (0..<6).map { body.number(UInt64.self, at: 8 + 8 * $0) ?? 0 }
        text = String(decoding: body[56...].prefix { $0 != 0 }, as: UTF8.self)
    }

    /// The struct.
    package var body: [UInt8] {
        var writer = ByteWriter(capacity: Self.length)
        writer.put(UInt32(Self.length))
        writer.put(flags)
        for index in 0..<6 { writer.put(index < times.count ? times[index] : 0) }
        let bytes = [UInt8](text.utf8.prefix(4095))
        writer.put(bytes)
        writer.pad(4096 - bytes.count)
        return writer.bytes
    }
}
