// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateHandlers
import LiveUpdatePlatform
import LiveUpdateProtocol
import Logging
import SystemPackage

/// Performs the calls on a session's descriptor.
final class SessionCalls {
    private let admissions: Admissions
    private let longWork: LongWorkRunner
    private let subscribers: Subscribers
    private let log: Log

    init(_ admissions: Admissions, _ longWork: LongWorkRunner, _ subscribers: Subscribers, _ log: Log) {
        self.admissions = admissions
        self.longWork = longWork
        self.subscribers = subscribers
        self.log = log
    }

    /// - Returns: the answer; nil when the request is answered later.
    /// - Throws: EINVAL for a call that a session does not have, or for a reserved field that is not 0; the errors of
    ///   the core and of ``Admission``.
    func perform(
        _ request: Request, _ descriptor: FileDescriptor?, _ session: Session, _ connection: Connection
    ) throws(LiveUpdateError) -> Reply? {
        let answer = request.tag == 0 ? nil : Answer(connection.id(request))
        let token = request.call.isAboutFile ? FileCall(request.body).token : 0
        switch request.call {
        case .preserve, .preserveHeld, .check:
            let file = FileRequest(
                call: request.call, token: token, received: ReceivedFile(descriptor ?? Self.none), answer: answer,
                admission: admissions.admission(of: session.holder.user, connection))
            return try preserve(file, request, session, connection)
        case .retrieve: return Reply(0, body: request.answerBody, copy: try session.retrieve(token: token))
        case .get: return Reply(0, body: request.answerBody, copy: try session.get(token: token))
        case .retrieveAsHeld: return Reply(0, body: request.answerBody, copy: try session.retrieveAsHeld(token: token))
        case .attest:
            try session.attest(
                token: token, try Attestation.read(descriptor ?? Self.none), answering: answer,
                isLimited: !admissions.admission(of: session.holder.user, connection).isUnlimited)
            return Reply(0, body: request.answerBody)
        case .attestation: return try attestation(request, session)
        case .unpreserve:
            try session.unpreserve(token: token, answering: answer)
            return Reply(0, body: request.answerBody)
        case .finish: return try finish(request, session, connection)
        case .getName: return try name(request, session)
        case .setDetached: return try setDetached(request, session, answer)
        case .subscribe: return try subscribers.subscribe(request, connection)
        case .ready: return try subscribers.ready(request, connection)
        default: throw LiveUpdateError(.invalidArgument, "not a call of a session")
        }
    }

    private func preserve(
        _ file: FileRequest, _ request: Request, _ session: Session, _ connection: Connection
    ) throws(LiveUpdateError) -> Reply? {
        let preservesMemory = request.call != .check && file.received.isMemory
        if file.isLong {
            longWork.begin(request, on: connection, preservesMemory: preservesMemory) {
                () throws(LiveUpdateError) in try file.preserve(in: session)
            }
            return nil
        }
        try file.preserve(in: session)
        if preservesMemory { connection.notePreservedMemory() }
        return Reply(0, body: request.answerBody)
    }

    /// Returns the checksums of a file, or the file itself to look at it.
    private func attestation(_ request: Request, _ session: Session) throws(LiveUpdateError) -> Reply {
        let call = FileCall(request.body)
        switch call.descriptor {
        case 0:
            var reply = Reply(0, body: request.answerBody)
            reply.descriptor = try Attestation.file(try session.attestation(token: call.token)).release()
            reply.isOwned = true
            return reply
        case FileCall.looksAtFile:
            let file =
                session.direction == .outgoing
                ? try session.get(token: call.token) : try session.retrieveAsHeld(token: call.token)
            return Reply(0, body: request.answerBody, copy: file)
        default:
            throw LiveUpdateError(
                .invalidArgument, "GET_ATTESTATION returns nothing for the number \(call.descriptor)",
                remedy: "use 0 for the checksums, and 1 for the file")
        }
    }

    private func finish(
        _ request: Request, _ session: Session, _ connection: Connection
    ) throws(LiveUpdateError) -> Reply? {
        guard WordCall(body: request.body).word == 0 else { throw Self.reserved }
        if longWork.hasManyFiles(session) {
            longWork.begin(request, on: connection) { () throws(LiveUpdateError) in try session.finish() }
            return nil
        }
        try session.finish()
        log.say("session finished", .info, session.fields(for: connection.clientID))
        return Reply(0, body: request.answerBody)
    }

    private func name(_ request: Request, _ session: Session) throws(LiveUpdateError) -> Reply {
        var call = NameCall(request.body)
        guard call.word == 0 else { throw Self.reserved }
        call.name = session.name
        return Reply(0, body: [UInt8](call.body.prefix(request.size)))
    }

    private func setDetached(
        _ request: Request, _ session: Session, _ answer: Answer?
    ) throws(LiveUpdateError) -> Reply {
        var holder = session.holder
        holder.isDetached = WordCall(body: request.body).word != 0
        try session.hold(by: holder, answering: answer)
        return Reply(0, body: request.answerBody)
    }

    /// The descriptor of a message without one. It is not open.
    private static let none = FileDescriptor(rawValue: -1)
    private static let reserved = LiveUpdateError(
        .invalidArgument, "a reserved field of the struct is not 0", remedy: "set it to 0")
}

/// A request that preserves a file, or that checks whether it can be preserved. A thread of the ``WorkerPool`` can do
/// it.
struct FileRequest: Sendable {
    var call: Call
    var token: UInt64
    var received: ReceivedFile
    var answer: Answer?
    var admission: Admission

    /// Whether the request takes long.
    var isLong: Bool {
        guard call != .preserveHeld, let status = received.status else { return false }
        return LongWork.isLong(size: status.size, allocated: status.allocated)
    }

    /// - Throws: ELOOP for one of luod's own sockets; EMFILE and ENOSPC at the limits; the errors of the core.
    func preserve(in session: Session) throws(LiveUpdateError) {
        try session.preserve(
            received.descriptor, token: token, as: call == .preserveHeld ? HeldFileHandler.format : nil,
            answering: call == .check ? nil : answer, admittedAs: received.isMemory ? received.status?.identity : nil,
            isLimited: !admission.isUnlimited
        ) { () throws(LiveUpdateError) in
            if call == .preserveHeld { try admission.refuseOwnSocket(received.descriptor) }
            try admission.checkFilesOfKernel(session)
            try admission.checkMemory(received.descriptor)
            try admission.checkDescriptors()
        }
        // A check must leave nothing preserved.
        if call == .check { try session.unpreserve(token: token) }
    }
}

/// The file of a request, as it was on arrival. No file system is asked, because it may not answer.
struct ReceivedFile: Sendable {
    let descriptor: FileDescriptor
    /// The status; nil when the descriptor is not open.
    let status: FileStatus?
    /// Whether it is a file of tmpfs or hugetlbfs. Only these have seals, and an O_PATH descriptor has none.
    let isMemory: Bool

    init(_ descriptor: FileDescriptor) {
        self.descriptor = descriptor
        status = try? FileStatus(cached: descriptor)
        isMemory = (try? descriptor.hasSeals()) == true
    }
}

extension Call {
    fileprivate var isAboutFile: Bool { isOnSession && length == FileCall.length }
}

extension Request {
    /// The struct of the answer, no longer than the client's. It has no descriptor number, because the descriptor is
    /// sent with the message.
    var answerBody: [UInt8] { body }
}
