// SPDX-License-Identifier: Apache-2.0
package import LiveUpdateCore
import SystemPackage

/// Decodes the requests of clients, with the checks of the kernel's device in the same order.
package struct RequestDecoder: Sendable {
    /// Whether the message came on a session.
    private let isOnSession: Bool
    /// The direction of the session; nil for any other descriptor.
    private let isOutgoing: Bool?

    /// A decoder for the messages of one descriptor.
    ///
    /// - Parameters:
    ///   - isOnSession: whether the descriptor leads to a session.
    ///   - isOutgoing: the direction of the session; nil when it does not matter.
    package init(isOnSession: Bool, isOutgoing: Bool?) {
        self.isOnSession = isOnSession
        self.isOutgoing = isOutgoing
    }

    /// Decodes a message.
    ///
    /// - Throws: in this order: EINVAL for an unknown number, EFAULT without a size, ENOTTY for another type, EINVAL
    ///   for the wrong direction, EINVAL for a struct that is too short, E2BIG for a longer struct with a nonzero byte
    ///   in the rest, EFAULT when the message ends before the struct does.
    package func request(_ message: [UInt8]) throws(Malformed) -> Request {
        let size = message.number(UInt32.self, at: 4).map(Int.init)
        func refuse(_ result: Int32, _ reason: String, remedy: String? = nil) -> Malformed {
            Malformed(result, reason, remedy: remedy ?? Malformed.remedy, message, size)
        }
        let command = message.number(UInt32.self, at: 0)
        guard let command, let call = Call(rawValue: UInt8(command & 0xFF)) else {
            let number = command.map { "0x\(String($0 & 0xFF, radix: 16))" } ?? "in less than 4 bytes"
            throw refuse(CallError.invalid, "\(isOnSession ? "a session" : "the device") has no call \(number)")
        }
        guard call.isOnSession == isOnSession else {
            throw refuse(CallError.invalid, call.reasonOnOtherDescriptor, remedy: call.remedyOnOtherDescriptor)
        }
        guard let size else { throw refuse(CallError.fault, "the request of \(call) has no struct") }
        guard command & ~0xFF == Call.type else {
            throw refuse(CallError.wrongType, "command 0x\(String(command, radix: 16)) is not of type 0xBA")
        }
        if let wanted = call.wantsOutgoing, let isOutgoing, wanted != isOutgoing {
            throw refuse(
                CallError.invalid,
                wanted
                    ? "\(call) needs an outgoing session, and this session is incoming: it was made before the update"
                    : "\(call) needs an incoming session, and this session is outgoing: there was no update since it was made",
                remedy: call.remedyInOtherDirection)
        }
        guard size >= call.length else {
            throw refuse(CallError.invalid, "the struct of \(call) has \(call.length) bytes, and not \(size)")
        }
        let there = message[4..<min(message.count, 4 + size)]
        guard there.dropFirst(call.length).allSatisfy({ $0 == 0 }) else {
            throw refuse(
                CallError.tooBig, "the struct of \(call) has \(call.length) bytes, and bytes behind it are set")
        }
        guard there.count == size else {
            throw refuse(CallError.fault, "the struct of \(call) has \(size) bytes, of which \(there.count) came")
        }
        let tail = Tail(message, size)
        return Request(
            call, body: [UInt8](there.prefix(call.length)), size: size, tag: tail.tag, wantsReason: tail.wantsReason)
    }
}

/// The error of an invalid message.
package struct Malformed: Error, Equatable, Sendable {
    /// The errno, and the reason as text.
    package let error: LiveUpdateError
    /// The tag of the message, for the answer.
    package let tag: UInt64
    /// Whether the client asks for the reason.
    package let wantsReason: Bool
    /// The struct, if it is complete.
    let structure: [UInt8]

    /// The negative errno.
    package var result: Int32 { -error.errno.rawValue }

    /// The remedy for a message that has the wrong form.
    fileprivate static let remedy = "docs/protocol.md lists the calls and their structs"

    init(_ result: Int32, _ reason: String, remedy: String, _ message: [UInt8], _ size: Int?) {
        let tail = size.map { Tail(message, $0) }
        error = LiveUpdateError(Errno(rawValue: -result), reason, remedy: remedy)
        tag = tail?.tag ?? 0
        wantsReason = tail?.wantsReason ?? false
        structure = size.map { message.count >= 4 + $0 ? [UInt8](message[4..<4 + $0]) : [] } ?? []
    }
}

/// The words for a call on the wrong descriptor.
extension Call {
    /// The reason on the connection for a call on a session, or the reverse.
    fileprivate var reasonOnOtherDescriptor: String {
        isOnSession
            ? "\(self) needs a session, and this descriptor is the connection"
            : "\(self) needs the connection, and this descriptor is a session"
    }

    fileprivate var remedyOnOtherDescriptor: String {
        isOnSession
            ? "use the descriptor that CREATE_SESSION, RETRIEVE_SESSION or ATTACH_SESSION returned"
            : "use the descriptor of the connection"
    }

    /// The remedy for a session of the other direction than ``wantsOutgoing``.
    fileprivate var remedyInOtherDirection: String {
        switch self {
        case .get: "retrieve the file"
        case .unpreserve: "finish the session, which releases its files"
        case .retrieve, .retrieveAsHeld: "get the file (GET_FD)"
        case .finish: "close the session, or unpreserve its files"
        default: "finish this session, and preserve in a new one"
        }
    }
}

/// The part of a request after its struct.
private struct Tail {
    let tag: UInt64
    let wantsReason: Bool

    init(_ message: [UInt8], _ size: Int) {
        tag = message.number(UInt64.self, at: 4 + size) ?? 0
        wantsReason = (message.number(UInt32.self, at: 12 + size) ?? 0) & Request.reasons != 0
    }
}
