import Handover
public import LiveUpdate

/// `u32 size, s32 fd, u8 name[64]`: CREATE_SESSION, RETRIEVE_SESSION; and with another u32 for the descriptor
/// ATTACH_SESSION (``AttachedDirection``) and GET_NAME (reserved).
public struct NameCall: Equatable, Sendable {
    /// Nil when it has no end, or is empty: which CREATE_SESSION refuses, and the others just do not find.
    public var name: SessionName?
    /// The descriptor, or what stands in its place.
    public var word: UInt32

    /// To be sent.
    public init(_ name: SessionName, word: UInt32 = .max) {
        self.name = name
        self.word = word
    }

    /// Reads a struct of the right length.
    public init(_ body: [UInt8]) {
        word = body.number(UInt32.self, at: 4) ?? 0
        let field = body[8..<72]
        let end = field.firstIndex(of: 0)
        name = end.flatMap { $0 == field.startIndex ? nil : SessionName(bytes: field[..<$0]) }
    }

    /// The struct.
    public var body: [UInt8] {
        var writer = ByteWriter(capacity: 72)
        writer.put(UInt32(72))
        writer.put(word)
        let bytes = [UInt8](name?.bytes.prefix(64) ?? [])
        writer.put(bytes)
        writer.pad(64 - bytes.count)
        return writer.bytes
    }
}

/// Which session ATTACH_SESSION means: an incoming and an outgoing one may have the same name.
public enum AttachedDirection: UInt32, Sendable {
    /// The one of that name; of two the outgoing one, which is newer.
    case any = 0
    case outgoing = 1
    case incoming = 2
}

/// `u32 size, s32 fd, u64 token`: PRESERVE_FD, RETRIEVE_FD and ours that are about one file.
public struct FileCall: Equatable, Sendable {
    /// Over the socket the descriptor stands beside the message: this says nothing.
    public var descriptor: Int32
    /// Names the file in its session.
    public var token: UInt64
    /// The length of the struct in bytes.
    public static let length = 16

    /// To be sent.
    public init(token: UInt64, descriptor: Int32 = -1) {
        self.token = token
        self.descriptor = descriptor
    }

    /// Reads a struct of the right length.
    public init(_ body: [UInt8]) {
        descriptor = body.number(Int32.self, at: 4) ?? -1
        token = body.number(UInt64.self, at: 8) ?? 0
    }

    /// The struct.
    public var body: [UInt8] {
        var writer = ByteWriter(capacity: 16)
        writer.put(UInt32(16))
        writer.put(descriptor)
        writer.put(token)
        return writer.bytes
    }
}

/// The role of a descriptor, as IDENTIFY tells it. The struct of IDENTIFY is that of FILE calls, with this as the
/// descriptor and the cookie as the token.
public enum DescriptorRole: Int32, Sendable {
    /// An opened device.
    case device = 0
    /// A session of this boot.
    case outgoing = 1
    /// A session that was handed over.
    case incoming = 2
    /// What belongs to a boot that has ended: every call is ENODEV.
    case dead = 3
}

/// `u32 size, u32 word`: FINISH, SERVE and PING (reserved), SET_DETACHED (whether), OPEN_DEVICE and AS_USER (the user).
public struct WordCall: Equatable, Sendable {
    /// The number in the struct.
    public var word: UInt32

    /// To be sent.
    public init(_ word: UInt32 = 0) { self.word = word }

    /// Reads a struct of the right length.
    public init(body: [UInt8]) { word = body.number(UInt32.self, at: 4) ?? 0 }

    /// The struct.
    public var body: [UInt8] {
        var writer = ByteWriter(capacity: 8)
        writer.put(UInt32(8))
        writer.put(word)
        return writer.bytes
    }
}

/// `u32 size, u32 boot, u64 session, u64 file`: STATUS. Zeros ask for the first page. The answer has the request for
/// the next page, or zeros behind the last one.
public struct StatusCall: Equatable, Sendable {
    /// The boot that the place is of; 0 in the request for the first page.
    public var boot: UInt32
    /// The number of the last session in the page before.
    public var session: UInt64
    /// The number of its last file in the page before, or 0.
    public var file: UInt64
    static let length = 24

    /// To be sent.
    public init(boot: UInt32 = 0, session: UInt64 = 0, file: UInt64 = 0) {
        self.boot = boot
        self.session = session
        self.file = file
    }

    /// Reads a struct of the right length.
    public init(_ body: [UInt8]) {
        boot = body.number(UInt32.self, at: 4) ?? 0
        session = body.number(UInt64.self, at: 8) ?? 0
        file = body.number(UInt64.self, at: 16) ?? 0
    }

    /// Whether it asks for the first page; in an answer whether no page comes behind.
    public var isFirst: Bool { self == StatusCall() }

    /// The struct.
    public var body: [UInt8] {
        var writer = ByteWriter(capacity: Self.length)
        writer.put(UInt32(Self.length))
        writer.put(boot)
        writer.put(session)
        writer.put(file)
        return writer.bytes
    }
}

/// `u32 size, u32 flags, u64 times[6], u8 text[4096]`: LOAD, UPDATE, RELOAD. The text names the image, with NUL at its
/// end, or nothing for the one that runs; in the answer the text says why the call failed.
public struct UpdateCall: Equatable, Sendable {
    static let length = 8 + 6 * 8 + 4096

    /// UPDATE: lose incoming sessions that are unfinished. STOP: lose the sessions and files that end with luod.
    public static let discard: UInt32 = 1
    /// UPDATE: go on without the files that cannot be frozen.
    public static let leaveOut: UInt32 = 2
    /// RELOAD: replace the program of the keeper, and not that of the orchestrator.
    public static let keeper: UInt32 = 8
    /// REMOVE_SESSION: the session that was made in this boot.
    public static let outgoing: UInt32 = 1
    /// REMOVE_SESSION: the session that the last update handed over.
    public static let incoming: UInt32 = 2
    /// REMOVE_SESSION: remove the session also while a client holds it, or a handler cannot finish yet.
    public static let force: UInt32 = 4

    /// Which of the flags above are set.
    public var flags: UInt32
    /// When each phase ended: CLOCK_MONOTONIC, nanoseconds. Asked, loaded, frozen and published, taken over, switched,
    /// answered. In a request, the first is when the client sent the request, or 0: a request that was sent while
    /// another update ran is EBUSY.
    public var times: [UInt64]
    /// The image's path, or why.
    public var text: String

    /// To be sent.
    public init(flags: UInt32 = 0, times: [UInt64] = [], text: String = "") {
        self.flags = flags
        self.times = times
        self.text = text
    }

    /// Reads a struct of the right length.
    public init(_ body: [UInt8]) {
        flags = body.number(UInt32.self, at: 4) ?? 0
        times = (0..<6).map { body.number(UInt64.self, at: 8 + 8 * $0) ?? 0 }
        text = String(decoding: body[56...].prefix { $0 != 0 }, as: UTF8.self)
    }

    /// The struct.
    public var body: [UInt8] {
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
