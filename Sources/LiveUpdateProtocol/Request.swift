import Handover

/// A request, as it came over the socket: u32 command, the ioctl's struct, and, when the client wants to know for sure that
/// it was done once, a u64 tag: other than that of its request before, and not 0.
public struct Request: Equatable, Sendable {
    /// Which call.
    public var call: Call
    /// The struct, as long as this version knows it, from its size on.
    public var body: [UInt8]
    /// How long the client says that its struct is: it gets no more back.
    public var size: Int
    /// 0: none.
    public var tag: UInt64

    /// A request to be sent.
    public init(_ call: Call, body: [UInt8], tag: UInt64) {
        self.call = call
        self.body = body
        self.size = body.count
        self.tag = tag
    }

    /// As it is sent.
    public var bytes: [UInt8] {
        var writer = ByteWriter(capacity: body.count + 12)
        writer.put(call.command)
        writer.put(body)
        writer.put(tag)
        return writer.bytes
    }
}

/// Why a request is none: a negative errno, in the order of the checks of the device.
public struct Malformed: Error, Equatable, Sendable {
    /// The negative errno.
    public let result: Int32
    /// What the answer is to carry, so that the client knows it.
    public let tag: UInt64
}

extension Request {
    /// Takes a message apart.
    ///
    /// - Parameters:
    ///   - message: what came.
    ///   - isOnSession: what kind of descriptor it came on.
    ///   - isOutgoing: of a session, its direction.
    /// - Throws: in this order: EINVAL for an unknown number, EFAULT without a size, ENOTTY for another type, EINVAL for
    ///   the wrong direction, EINVAL for a struct that is too short, E2BIG for one that is longer and has something there,
    ///   EFAULT for one that is shorter than it says.
    public init(_ message: [UInt8], isOnSession: Bool, isOutgoing: Bool?) throws(Malformed) {
        let size = message.number(UInt32.self, at: 4).map(Int.init)
        let tag = size.map { Self.tag(message, behind: 4 + $0) } ?? 0
        func refuse(_ result: Int32) -> Malformed { Malformed(result: result, tag: tag) }
        guard let command = message.number(UInt32.self, at: 0), let call = Call(rawValue: UInt8(command & 0xFF)),
            call.isOnSession == isOnSession
        else { throw refuse(CallError.invalid) }
        guard let size else { throw refuse(CallError.fault) }
        guard command & ~0xFF == Call.type else { throw refuse(CallError.wrongType) }
        if let wanted = call.wantsOutgoing, let isOutgoing, wanted != isOutgoing { throw refuse(CallError.invalid) }
        guard size >= call.length else { throw refuse(CallError.invalid) }
        let there = message[4..<min(message.count, 4 + size)]
        guard there.dropFirst(call.length).allSatisfy({ $0 == 0 }) else { throw refuse(CallError.tooBig) }
        guard there.count == size else { throw refuse(CallError.fault) }
        self.call = call
        self.size = size
        self.tag = tag
        body = [UInt8](there.prefix(call.length))
    }

    private static func tag(_ message: [UInt8], behind end: Int) -> UInt64 {
        message.number(UInt64.self, at: end) ?? 0
    }
}

/// An answer: s32 result, the struct, as much of it as the client has room for, and the request's tag when it had one.
public struct Response: Equatable, Sendable {
    /// 0, or a negative errno.
    public var result: Int32
    /// The struct.
    public var body: [UInt8]
    /// That of the request.
    public var tag: UInt64

    /// An answer to be sent.
    public init(result: Int32, body: [UInt8] = [], tag: UInt64) {
        self.result = result
        self.body = body
        self.tag = tag
    }

    /// A refusal of the connection itself, which is closed after it: nothing but the result.
    public init(refusingWith result: Int32) { self.init(result: result, tag: 0) }

    /// The refusal of a connection; nil for anything else.
    public init?(refusing message: [UInt8]) {
        guard message.count == 4, let result = message.number(Int32.self, at: 0), result < 0 else { return nil }
        self.init(refusingWith: result)
    }

    /// The errno of a failed request, as a positive number. Nil when the request worked; EPROTO when the result is
    /// neither 0 nor a negative errno.
    public var failure: Int32? {
        switch result {
        case 0: nil
        case -Self.largestErrno ... -1: -result
        default: Self.protocolError
        }
    }

    /// The largest errno that the kernel returns: MAX_ERRNO.
    private static let largestErrno: Int32 = 4095
    private static let protocolError: Int32 = 71

    /// As it is sent.
    public var bytes: [UInt8] {
        var writer = ByteWriter(capacity: body.count + 12)
        writer.put(result)
        writer.put(body)
        if tag != 0 { writer.put(tag) }
        return writer.bytes
    }

    /// Takes an answer apart.
    ///
    /// - Parameter tagged: whether the request had a tag.
    /// - Returns: nil for what is too short to be one.
    public init?(_ message: [UInt8], tagged: Bool) {
        guard message.count >= (tagged ? 12 : 4) else { return nil }
        result = message.number(Int32.self, at: 0) ?? 0
        tag = tagged ? message.number(UInt64.self, at: message.count - 8) ?? 0 : 0
        body = [UInt8](message.dropFirst(4).dropLast(tagged ? 8 : 0))
    }
}
