// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateDevice
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage
import TestSupport
import Testing

/// Malformed answers, which no luod sends. The client reports each as an error, closes the descriptors that came with
/// it, and goes on.
@Suite struct ClientAnswerTests {
    /// Answers the first request with `first`, and all other requests as luod does.
    private func client(
        _ first: @escaping @Sendable (FakeDaemon.Request) -> [FakeDaemon.Message]?
    ) throws -> (FakeDaemon, LiveUpdateDevice) {
        let answered = Guarded(false)
        let daemon = try FakeDaemon { request in
            let isFirst = answered.with { answered in
                defer { answered = true }
                return !answered
            }
            return isFirst ? first(request) : [.init(request.answer())]
        }
        return (daemon, try LiveUpdateDevice.luod(state: FilePath(daemon.state)))
    }

    /// An answer that is wrong in one way.
    enum Fault: CaseIterable {
        case empty, short, cut, positive, beyondErrno, smallest, refusalBeyondErrno, long, unexpectedDescriptor

        func message(_ request: FakeDaemon.Request, _ descriptor: FileDescriptor) -> FakeDaemon.Message {
            switch self {
            case .empty: .init([0])
            case .short: .init([1, 2, 3])
            case .cut: .init([UInt8](request.answer().suffix(9)))
            case .positive: .init(request.answer(22))
            case .beyondErrno: .init(request.answer(-4096))
            case .smallest: .init(request.answer(.min))
            case .refusalBeyondErrno: .init(nativeBytes(Int32.min))
            case .long: .init(request.answer() + [UInt8](repeating: 0, count: 9000))
            case .unexpectedDescriptor: .init(request.answer(), [descriptor])
            }
        }
    }

    @Test("A malformed answer is EPROTO, and the connection goes on", arguments: Fault.allCases)
    func faults(fault: Fault) throws {
        let file = try MemoryFile()
        let (daemon, device) = try client { request in [fault.message(request, file.descriptor)] }
        let refused = failure { try device.act(as: 7) }
        #expect(refused?.errno == .protocolError, "\(refused?.description ?? "nothing")")
        #expect(refused?.description.contains("same version") == true, "\(refused?.description ?? "nothing")")
        #expect(throws: Never.self) { try device.act(as: 7) }
        withExtendedLifetime(daemon) {}
    }

    @Test("The end of the connection is ENOTCONN") func ended() throws {
        let daemon = try FakeDaemon { _ in nil }
        let device = try LiveUpdateDevice.luod(state: FilePath(daemon.state))
        #expect(failure { try device.act(as: 7) }?.errno == .socketNotConnected)
    }

    @Test("Answers to other requests are dropped with their descriptors") func otherTags() throws {
        let ends = try FileDescriptor.pipe()
        defer { try? ends.readEnd.close() }
        let (daemon, device) = try client { request in
            let other = nativeBytes(Int32(-5)) + request.body + nativeBytes(UInt64(1))
            return [.init(other, [ends.writeEnd]), .init(other), .init(request.answer())]
        }
        #expect(throws: Never.self) { try device.act(as: 7) }
        try ends.writeEnd.close()
        #expect(ends.readEnd.isReadable(within: 10_000), "no copy of the other end is left")
        withExtendedLifetime(daemon) {}
    }

    @Test("A repeated page of the status is dropped, although it is longer than the awaited answer")
    func repeatedPage() throws {
        let (daemon, device) = try client { request in
            let page = nativeBytes(Int32(0)) + [UInt8](repeating: 7, count: Call.status.length) + nativeBytes(UInt64(1))
            return [.init(page + [UInt8](repeating: 0x20, count: 60_000)), .init(request.answer())]
        }
        #expect(throws: Never.self) { try device.act(as: 7) }
        #expect(throws: Never.self) { try device.act(as: 7) }
        withExtendedLifetime(daemon) {}
    }

    @Test("In a shortage the gate pauses between attempts, and does not wait for existing room")
    func shortage() throws {
        for errno in [Errno.tooManyReferences, .noBufferSpace, .noMemory] {
            let (ours, theirs) = try MessageSocket.pair()
            defer { for end in [ours, theirs] { try? closeDescriptor(end) } }
            let client = ProtocolClient(ours, leavesAnswers: true)
            let request = Request(.ping, body: WordCall().body, tag: 7)
            var awaited: [ProtocolClient.Awaited] = []
            _ = FaultInjector.failing(call: 1, with: errno) {
                try? client.answer(to: request) { event throws(SystemCallError) in
                    awaited.append(event)
                    if event == .answer { throw SystemCallError("poll", .interrupted) }
                }
            }
            #expect(awaited == [.resources, .answer], "\(errno)")
            let began = monotonicNanoseconds()
            #expect(ours.wait(for: .resources))
            #expect(monotonicNanoseconds() - began > 1_000_000)
        }
    }

    @Test("A client other than the gate gets the error of a shortage") func ownShortage() throws {
        let (ours, theirs) = try MessageSocket.pair()
        defer { for end in [ours, theirs] { try? closeDescriptor(end) } }
        let request = Request(.ping, body: WordCall().body, tag: 7)
        let found = FaultInjector.failing(call: 1, with: .tooManyReferences) {
            Result { try ProtocolClient(ours).answer(to: request) }
        }
        #expect(throws: SystemCallError("sendmsg", .tooManyReferences)) { _ = try found.value.get() }
    }

    @Test("No descriptor, or more than one, is EPROTO, and the descriptors are closed", arguments: [0, 2, 5])
    func descriptors(count: Int) throws {
        let ends = try FileDescriptor.pipe()
        defer { try? ends.readEnd.close() }
        let (daemon, device) = try client { request in
            [.init(request.answer(), [FileDescriptor](repeating: ends.writeEnd, count: count))]
        }
        #expect(failure { try device.createSession("s") }?.errno == .protocolError)
        try ends.writeEnd.close()
        #expect(ends.readEnd.isReadable(within: 10_000), "no copy of the other end is left")
        withExtendedLifetime(daemon) {}
    }

    @Test("A descriptor of an answer that failed is closed") func failedWithDescriptor() throws {
        let ends = try FileDescriptor.pipe()
        defer { try? ends.readEnd.close() }
        let (daemon, device) = try client { request in [.init(request.answer(-17), [ends.writeEnd])] }
        #expect(failure { try device.createSession("s") }?.errno == .fileExists)
        try ends.writeEnd.close()
        #expect(ends.readEnd.isReadable(within: 10_000), "no copy of the other end is left")
        withExtendedLifetime(daemon) {}
    }

    // MARK: Notices

    /// A session whose daemon answers SUBSCRIBE with these messages before the answer.
    private func subscribed(_ before: [[UInt8]]) throws -> (FakeDaemon, DeviceSession) {
        let daemon = try FakeDaemon { request in
            let session = try? FakeDaemon.session { request in
                guard request.number != Call.finish.rawValue else { return nil }
                let isFirst = request.number == Call.subscribe.rawValue
                return ((isFirst ? before : []) + [request.answer()]).map { FakeDaemon.Message($0) }
            }
            return session.map { [.init(request.answer(), [$0])] }
        }
        let session = try LiveUpdateDevice.luod(state: FilePath(daemon.state)).createSession("s")
        try session.subscribe()
        return (daemon, session)
    }

    @Test("Notices before an answer are returned later, in their order, and unknown kinds are not") func notices()
        throws
    {
        var later = Notice(.over, value: 1).bytes + [7, 7, 7, 7]
        later[0] = 99
        later[4] = 28
        let (daemon, session) = try subscribed([
            later, Notice(.freezeSoon, question: 5, value: 1500).bytes, later, Notice(.over, value: 0).bytes,
        ])
        guard case .freezeSoon(let question) = try session.nextNotice(within: .seconds(Int64.max)) else {
            Issue.record("no question")
            return
        }
        #expect(question.number == 5 && question.timeLeft == .milliseconds(1500))
        try session.ready(to: question)
        #expect(try session.nextNotice() == .over(isNextBoot: false))
        for wait in [Duration.zero, .seconds(-1), .nanoseconds(1), .milliseconds(60)] {
            #expect(try session.nextNotice(within: wait) == nil)
        }
        #expect(failure { try session.finish() }?.errno == .socketNotConnected)
        #expect(failure { _ = try session.nextNotice() }?.errno == .socketNotConnected)
        withExtendedLifetime(daemon) {}
    }

    @Test(
        "An update sends how long luod waits for subscribers, and never the default by accident",
        arguments: [
            (nil, 0), (.zero, 1), (.seconds(-1), 1), (.nanoseconds(7), 7), (.milliseconds(5), 5_000_000),
            (.seconds(Int64.max), .max),
        ] as [(Duration?, UInt64)]) func patience(wait: Duration?, sent: UInt64) throws
    {
        let seen = Guarded<UpdateCall?>(nil)
        let (daemon, device) = try client { request in
            seen.with { $0 = UpdateCall(request.body) }
            return [.init(request.answer())]
        }
        _ = try device.update(patience: wait, withoutReady: true)
        let call = try #require(seen.with { $0 })
        #expect(call.times[1] == sent && call.flags == UpdateCall.withoutReady)
        withExtendedLifetime(daemon) {}
    }

    /// Every call that a client can make.
    private static let calls: [@Sendable (LiveUpdateDevice, DeviceSession, MemoryFile) throws -> Void] = [
        { device, _, _ in _ = try device.createSession("s") }, { device, _, _ in _ = try device.retrieveSession("s") },
        { device, _, _ in _ = try device.attachSession("s", .incoming) }, { device, _, _ in _ = try device.status() },
        { device, _, _ in _ = try device.load() }, { device, _, _ in _ = try device.update(leavingOut: true) },
        { device, _, _ in _ = try device.reload() }, { device, _, _ in _ = try device.stop() },
        { device, _, _ in _ = try device.removeSession("s", force: true) },
        { device, _, file in try device.serve(programsUnder: file.descriptor) },
        { device, _, _ in try device.act(as: 1) },
        { _, session, file in try session.preserve(file.descriptor, token: 1) },
        { _, session, file in try session.preserveHeld(file.descriptor, token: 1) },
        { _, session, file in try session.check(file.descriptor, token: 1) },
        { _, session, _ in try session.unpreserve(token: 1) }, { _, session, _ in _ = try session.get(token: 1) },
        { _, session, _ in _ = try session.retrieve(token: 1) },
        { _, session, _ in _ = try session.retrieveAsHeld(token: 1) }, { _, session, _ in try session.finish() },
        { _, session, _ in try session.setDetached(true) }, { _, session, _ in _ = try session.name() },
        { _, session, _ in try session.subscribe() }, { _, session, _ in _ = try session.nextNotice(within: .zero) },
    ]

    @Test("No call crashes, hangs or leaks a descriptor on random answers") func random() throws {
        let random = Guarded(SeededGenerator(seed: announcedSeed("ClientAnswerTests")))
        let ends = try FileDescriptor.pipe()
        defer { try? ends.readEnd.close() }
        let answer: FakeDaemon.Answering = { request in
            random.with { random in
                let results: [Int32] = [0, 0, 0, -2, -16, -71, -4095, -4096, 1, .min, .max]
                let result = results.randomElement(using: &random) ?? 0
                var body = request.body
                if Bool.random(using: &random) { body = body.map { _ in .random(in: 0...255, using: &random) } }
                let isCut = Int.random(in: 0..<3, using: &random) == 0
                if isCut { body = [UInt8](body.prefix(.random(in: 0...80, using: &random))) }
                let count = [0, 0, 1, 1, 2].randomElement(using: &random) ?? 0
                let last = FakeDaemon.Message(
                    request.answer(result, body: body), [FileDescriptor](repeating: ends.writeEnd, count: count))
                let noise = (0..<Int.random(in: 0...2, using: &random)).map { _ in
                    FakeDaemon.Message(
                        (0..<Int.random(in: 12...40, using: &random)).map { _ in .random(in: 0...255, using: &random) },
                        Bool.random(using: &random) ? [ends.writeEnd] : [])
                }
                return noise + [last]
            }
        }
        do {
            let daemon = try FakeDaemon { request in
                request.number == Call.createSession.rawValue && request.body[8] == UInt8(ascii: "!")
                    ? (try? FakeDaemon.session(answer)).map { [.init(request.answer(), [$0])] } : answer(request)
            }
            let (device, file) = (try LiveUpdateDevice.luod(state: FilePath(daemon.state)), try MemoryFile())
            let session = try device.createSession("!")
            for _ in 0..<Scale.count(300) {
                for call in Self.calls { _ = failure { try call(device, session, file) } }
            }
        }
        try ends.writeEnd.close()
        #expect(ends.readEnd.isReadable(within: 10_000), "no copy of the other end is left")
    }
}
