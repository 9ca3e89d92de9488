// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import Synchronization
import SystemPackage
import TestSupport

/// The daemon's answer to a failed request.
struct Refused: Error, Equatable {
    let errno: Errno
}

/// A minimal client: a connection to a daemon, or one of its sessions. It is closed with the last reference to this
/// object.
final class DaemonClient: Sendable {
    private let owned: Guarded<FileDescriptor?>
    private static let lastTag = Atomic<UInt64>(0)
    /// The notices that came before answers.
    private let setAside = Guarded<[Notice]>([])

    struct Answer {
        var result: Int32
        var body: [UInt8]
        var file: MemoryFile?
        var session: DaemonClient?
    }

    init(taking descriptor: FileDescriptor) { owned = Guarded(descriptor) }

    convenience init(connectingTo path: String) throws {
        self.init(taking: try MessageSocket.connect(to: path).release())
    }

    deinit { close() }

    /// Shuts the socket down and closes it. Another test may be starting a program, which has a copy of each descriptor
    /// until it executes. Then this close is not the last one, but the shutdown affects all copies.
    func close() {
        guard let descriptor = owned.with({ descriptor in descriptor.take() }) else { return }
        _ = shutdown(descriptor.rawValue, CInt(SHUT_RDWR))
        try? descriptor.close()
    }

    /// Releases the descriptor, which the caller must close.
    func release() -> FileDescriptor { owned.with { $0.take() } ?? FileDescriptor(rawValue: -1) }

    var descriptor: FileDescriptor { owned.with { $0 } ?? FileDescriptor(rawValue: -1) }

    // MARK: Messages

    static func nextTag() -> UInt64 { lastTag.add(1, ordering: .relaxed).newValue }

    /// Sends a request, without waiting for the answer.
    @discardableResult
    func ask(
        _ call: Call, _ body: [UInt8], _ passed: FileDescriptor? = nil, tag: UInt64 = nextTag()
    ) throws -> UInt64 {
        let bytes = Request(call, body: body, tag: tag).bytes
        while true {
            do {
                try descriptor.send(bytes, passed.map { [$0] } ?? [])
                return tag
            } catch  where error.errno == .resourceTemporarilyUnavailable {
                sleep(milliseconds: 1)
            }
        }
    }

    /// Waits for the answer to a request, and skips repeated answers to others.
    func answer(to tag: UInt64, within milliseconds: CInt = 60_000) throws -> (Response, [FileDescriptor]) {
        while true {
            guard descriptor.isReadable(within: milliseconds) else { throw Refused(errno: .timedOut) }
            guard let message = try? descriptor.receive(.now), let response = Response(message.bytes, tagged: true)
            else { throw Refused(errno: .connectionReset) }
            if let notice = Notice(message.bytes) {
                setAside.with { $0.append(notice) }
            } else if response.tag == tag {
                return (response, message.descriptors)
            }
            message.close()
        }
    }

    /// Waits for the next notice.
    ///
    /// - Returns: nil when none comes in time.
    func notice(within milliseconds: CInt = 60_000) throws -> Notice? {
        if let notice = setAside.with({ $0.isEmpty ? nil : $0.removeFirst() }) { return notice }
        guard descriptor.isReadable(within: milliseconds) else { return nil }
        guard let message = try? descriptor.receive(.now) else { throw Refused(errno: .connectionReset) }
        message.close()
        guard let notice = Notice(message.bytes) else { throw Refused(errno: .badMessage) }
        return notice
    }

    func call(
        _ call: Call, _ body: [UInt8], _ passed: FileDescriptor? = nil
    ) throws -> (body: [UInt8], descriptors: [FileDescriptor]) {
        let (response, descriptors) = try answer(to: try ask(call, body, passed))
        guard response.result == 0 else {
            for descriptor in descriptors { try? descriptor.close() }
            throw Refused(errno: Errno(rawValue: -response.result))
        }
        return (response.body, descriptors)
    }

    // MARK: Calls of the device

    private func session(_ kind: Call, _ name: SessionName, _ word: UInt32 = .max) throws -> DaemonClient {
        guard let descriptor = try call(kind, NameCall(name, word: word).body).descriptors.first else {
            throw Refused(errno: .badFileDescriptor)
        }
        return DaemonClient(taking: descriptor)
    }

    func create(_ name: SessionName) throws -> DaemonClient { try session(.createSession, name) }
    func retrieveSession(_ name: SessionName) throws -> DaemonClient { try session(.retrieveSession, name) }
    func attach(_ name: SessionName, _ direction: AttachedDirection = .any) throws -> DaemonClient {
        try session(.attachSession, name, direction.rawValue)
    }

    /// Lets this connection act as another user from now on.
    func act(as user: UInt32) throws { _ = try call(.asUser, WordCall(user).body) }

    /// Removes a session.
    ///
    /// - Returns: nil when it worked; otherwise the errno and the reason.
    func remove(_ name: SessionName, flags: UInt32 = 0) throws -> (errno: Errno, why: String)? {
        try change(.removeSession, flags: flags, image: name.description)
    }

    /// Reads one page of the status, and returns the request for the next one.
    func statusPage(_ request: StatusCall = StatusCall()) throws -> (
        lines: [LuodStatus.Line], next: StatusCall, bytes: Int
    ) {
        let bytes = Request(.status, body: request.body, tag: Self.nextTag(), wantsReason: true)
        try descriptor.send(bytes.bytes)
        while true {
            guard descriptor.isReadable(within: 60_000) else { throw Refused(errno: .timedOut) }
            guard let message = try? descriptor.receive(.now, room: 80_000) else {
                throw Refused(errno: .connectionReset)
            }
            message.close()
            guard case .answer(let answer) = ReplyDecoder(bytes).meaning(message.bytes) else { continue }
            guard answer.result == 0 else { throw Refused(errno: Errno(rawValue: -answer.result)) }
            let lines = answer.text.split(separator: UInt8(ascii: "\n"))
            let decoder = JSONDecoder()
            decoder.keyDecodingStrategy = .convertFromSnakeCase
            return (
                try lines.map { try decoder.decode(LuodStatus.Line.self, from: Data($0)) },
                StatusCall(answer.body), message.bytes.count
            )
        }
    }

    func status() throws -> LuodStatus {
        var (lines, next): ([LuodStatus.Line], StatusCall) = ([], StatusCall())
        repeat {
            let page = try statusPage(next)
            lines += page.lines
            next = page.next
        } while !next.isFirst
        guard let status = LuodStatus(lines) else { throw Refused(errno: .badMessage) }
        return status
    }

    /// Loads, updates or reloads.
    ///
    /// - Returns: nil when it worked; otherwise the errno and the reason.
    @discardableResult
    func change(
        _ kind: Call, flags: UInt32 = 0, image: String = "", patience: UInt64 = 0
    ) throws -> (errno: Errno, why: String)? {
        try changed(try beginChange(kind, flags: flags, image: image, patience: patience))
    }

    /// Requests a load, an update or a reload, without waiting for the answer. `patience` is the wait for subscribers
    /// in milliseconds; 0 is the default.
    func beginChange(
        _ kind: Call, flags: UInt32 = 0, image: String = "", patience: UInt64 = 0
    ) throws -> UInt64 {
        let times = [monotonicNanoseconds(), patience * 1_000_000]
        return try ask(kind, UpdateCall(flags: flags, times: times, text: image).body)
    }

    /// Waits for the result of a load, an update or a reload.
    ///
    /// - Returns: like ``change(_:flags:image:patience:)``.
    func changed(_ tag: UInt64) throws -> (errno: Errno, why: String)? {
        let (response, _) = try answer(to: tag)
        if response.result == 0 { return nil }
        return (Errno(rawValue: -response.result), response.body.count > 56 ? UpdateCall(response.body).text : "")
    }

    // MARK: Calls of a session

    func preserve(_ file: FileDescriptor, _ token: UInt64, as kind: Call = .preserve) throws {
        _ = try call(kind, FileCall(token: token).body, file)
    }

    func preserve(_ file: MemoryFile, _ token: UInt64) throws { try preserve(file.descriptor, token) }

    private func file(_ kind: Call, _ token: UInt64) throws -> OwnedDescriptor {
        guard let descriptor = try call(kind, FileCall(token: token).body).descriptors.first else {
            throw Refused(errno: .badFileDescriptor)
        }
        return OwnedDescriptor(taking: descriptor)
    }

    func retrieve(_ token: UInt64) throws -> MemoryFile { try MemoryFile(taking: try file(.retrieve, token)) }
    func get(_ token: UInt64) throws -> MemoryFile { try MemoryFile(taking: try file(.get, token)) }
    /// Gets a file and unpreserves it.
    func take(_ token: UInt64) throws -> MemoryFile { try MemoryFile(taking: try takeDescriptor(token)) }
    func retrieveDescriptor(_ token: UInt64) throws -> OwnedDescriptor { try file(.retrieve, token) }
    func retrieveAsHeld(_ token: UInt64) throws -> MemoryFile {
        try MemoryFile(taking: try file(.retrieveAsHeld, token))
    }
    func takeDescriptor(_ token: UInt64) throws -> OwnedDescriptor {
        let file = try file(.get, token)
        try unpreserve(token)
        return file
    }
    func unpreserve(_ token: UInt64) throws { _ = try call(.unpreserve, FileCall(token: token).body) }
    func finish() throws { _ = try call(.finish, WordCall().body) }
    func subscribe(_ isWanted: UInt32 = 1) throws { _ = try call(.subscribe, WordCall(isWanted).body) }
    func ready(to question: UInt64) throws { _ = try call(.ready, ReadyCall(question).body) }
    func setDetached(_ detached: Bool) throws { _ = try call(.setDetached, WordCall(detached ? 1 : 0).body) }

    func name() throws -> SessionName? {
        var body = NameCall("").body
        body.replaceSubrange(4..<8, with: [0, 0, 0, 0])
        return NameCall(try call(.getName, body).body).name
    }
}

/// The errno of a refused request; nil when it worked.
func refusal<Value>(_ body: () throws -> Value) throws -> Errno? {
    do {
        _ = try body()
        return nil
    } catch let error as Refused {
        return error.errno
    }
}
