// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdateCore
import LiveUpdateDevice
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage
import TestSupport
import Testing

/// Clients that are asked before an update of a real luod.
@Suite struct BarrierTests {
    private let daemon: RunningDaemon
    private let client: DaemonClient
    private let root: DaemonClient

    init() async throws {
        daemon = try await RunningDaemon()
        client = try daemon.connect()
        root = try daemon.connect()
    }

    /// A patience in milliseconds that never ends in a test.
    private static let long: UInt64 = 600_000

    /// Creates a session with a file, and subscribes on it.
    private func subscriber(_ name: SessionName = "vm", by client: DaemonClient? = nil) throws -> DaemonClient {
        let session = try (client ?? self.client).create(name)
        try session.preserve(try MemoryFile(bytes: [1, 2, 3]), 1)
        try session.subscribe()
        return session
    }

    /// Waits for *freeze soon*.
    ///
    /// - Returns: the number of the question.
    private func question(_ session: DaemonClient) throws -> UInt64 {
        let notice = try #require(try session.notice())
        try #require(notice.kind == .freezeSoon && notice.question != 0, "\(notice)")
        return notice.question
    }

    /// Waits for *over*.
    ///
    /// - Returns: whether the next boot runs.
    private func isNextBoot(_ session: DaemonClient) throws -> Bool {
        let notice = try #require(try session.notice())
        try #require(notice.kind == .over && notice.question == 0 && notice.value <= 1, "\(notice)")
        return notice.value == 1
    }

    private func isUnread(_ session: DaemonClient) throws -> Bool { try session.notice(within: 0) != nil }

    // MARK: Ready

    @Test("An update waits for READY, then hands over, and the next boot tells the client that it is over")
    func ready() throws {
        let session = try subscriber()
        let update = try root.beginChange(.update, patience: Self.long)
        let question = try question(session)
        // Other clients are served meanwhile, and so is this one.
        #expect(try daemon.connect().status().updates == 0)
        try session.preserve(try MemoryFile(bytes: [4]), 2)
        #expect(!root.descriptor.isReadable(within: 0), "the update does not wait")
        try session.ready(to: question)
        #expect(try root.changed(update) == nil)
        #expect(try isNextBoot(session))
        #expect(try refusal { try session.name() } == .operationNotSupportedByDevice)
        #expect(try !isUnread(session), "one notice is enough")
        let next = try client.retrieveSession("vm")
        #expect(try next.retrieve(1).bytes() == [1, 2, 3] && next.retrieve(2).bytes() == [4])
    }

    @Test("The client of a session that was handed over subscribes again, and is asked before the next update")
    func twoUpdates() throws {
        let first = try subscriber()
        let one = try root.beginChange(.update, patience: Self.long)
        let question = try question(first)
        try first.ready(to: question)
        #expect(try root.changed(one) == nil)
        #expect(try isNextBoot(first))
        let incoming = try client.retrieveSession("vm")
        try incoming.subscribe()
        try incoming.finish()
        let two = try root.beginChange(.update, patience: Self.long)
        let second = try self.question(incoming)
        #expect(second != question)
        try incoming.ready(to: second)
        #expect(try root.changed(two) == nil)
        #expect(try isNextBoot(incoming))
        #expect(try client.status().updates == 2 && !isUnread(first))
    }

    @Test("A client that subscribes while others are asked is not asked for this update") func subscribesLate() throws {
        let session = try subscriber()
        let update = try root.beginChange(.update, patience: Self.long)
        let question = try question(session)
        let late = try subscriber("late")
        try session.ready(to: question)
        #expect(try root.changed(update) == nil)
        #expect(try isNextBoot(session) && !isUnread(late))
    }

    @Test("Without subscribers, and after a subscription has ended, an update asks no client") func none() throws {
        let session = try subscriber()
        try session.subscribe(0)
        let other = try client.create("other")
        #expect(try root.change(.update, patience: Self.long) == nil)
        #expect(try !isUnread(session) && !isUnread(other))
    }

    /// A subscriber that changes the size of its file when it is asked, so that the file cannot be frozen.
    private func changeSize(_ flags: UInt32) throws -> UInt64 {
        let file = try MemoryFile(bytes: [1])
        let session = try client.create("vm")
        try session.preserve(file, 1)
        try session.subscribe()
        let update = try root.beginChange(.update, flags: flags, patience: Self.long)
        let question = try question(session)
        try file.descriptor.setSize(8192)
        try session.ready(to: question)
        return update
    }

    @Test("A file that changes while clients are asked is named with its session, and nothing is updated")
    func changedFile() throws {
        let result = try #require(try root.changed(try changeSize(0)))
        #expect(result.errno == .staleNFSFileHandle)
        #expect(
            result.why.contains("1 file cannot be frozen:\nuser \(geteuid()), session \"vm\", token 1: "), "\(result)")
        #expect(try client.status().updates == 0)
    }

    @Test("A file that changes while clients are asked is left out, and the answer names it") func changedLeftOut()
        throws
    {
        let (answer, _) = try root.answer(to: try changeSize(UpdateCall.leaveOut))
        #expect(answer.result == 0)
        let text = UpdateCall(answer.body).text
        #expect(text.hasPrefix("user \(geteuid()), session \"vm\", token 1: "), "\(text)")
        #expect(try daemon.log().contains("update: goes on without user \(geteuid()), session \"vm\", token 1"))
    }

    @Test("An update that unfinished sessions refuse asks no client") func unfinished() throws {
        let other = try subscriber("other")
        #expect(try root.change(.update, flags: UpdateCall.withoutReady, patience: 1) == nil)
        _ = try question(other)
        #expect(try isNextBoot(other), "its session waits for the client now")
        let session = try subscriber()
        #expect(try root.change(.update, patience: Self.long)?.errno == .resourceBusy)
        #expect(try !isUnread(session))
    }

    @Test("A reload asks no client, and keeps the subscription") func reload() throws {
        let session = try subscriber()
        #expect(try root.change(.reload) == nil)
        #expect(try !isUnread(session))
        let update = try root.beginChange(.update, patience: Self.long)
        try session.ready(to: try question(session))
        #expect(try root.changed(update) == nil)
        #expect(try isNextBoot(session))
    }

    @Test("200 subscribers are asked, and the update begins when the last one is ready") func many() throws {
        let sessions = try (0..<200).map { number in
            let session = try client.create(SessionName("vm-\(number)"))
            try session.subscribe()
            return session
        }
        let update = try root.beginChange(.update, patience: Self.long)
        let questions = try sessions.map(question)
        #expect(Set(questions).count == 1)
        for session in sessions.dropLast() { try session.ready(to: questions[0]) }
        #expect(!root.descriptor.isReadable(within: 0))
        try sessions.last?.ready(to: questions[0])
        #expect(try root.changed(update) == nil)
        for session in sessions { #expect(try isNextBoot(session)) }
        #expect(try root.status().sessions.count == 200)
    }

    // MARK: Not ready

    @Test("An update names a client that is not ready in time, changes nothing, and tells the client that it is over")
    func late() throws {
        let (slow, quick) = (try subscriber("slow"), try subscriber("quick"))
        let update = try root.beginChange(.update, patience: 300)
        let question = try question(slow)
        try quick.ready(to: try self.question(quick))
        let refused = try #require(try root.changed(update))
        #expect(refused.errno == .timedOut)
        let line = "user \(geteuid()), session \"slow\", process \(getpid()): not ready"
        let reason = "1 client was not ready for the update within 300 ms:\n\(line)\nremedy: wait longer"
        #expect(refused.why.hasPrefix(reason), "\(refused.why)")
        #expect(try daemon.log().contains(line))
        for session in [slow, quick] { #expect(try !isNextBoot(session)) }
        #expect(try refusal { try slow.ready(to: question) } == .staleNFSFileHandle, "too late")
        #expect(try root.status().updates == 0)
        #expect(try slow.get(1).bytes() == [1, 2, 3])

        let again = try root.beginChange(.update, patience: Self.long)
        for session in [slow, quick] { try session.ready(to: try self.question(session)) }
        #expect(try root.changed(again) == nil)
    }

    @Test("An update goes on without clients that are not ready, and its answer and the log name them") func without()
        throws
    {
        let slow = try subscriber("slow")
        let quick = try subscriber("quick")
        let update = try root.beginChange(.update, flags: UpdateCall.withoutReady, patience: 2000)
        try quick.ready(to: try question(quick))
        let answer = try root.answer(to: update).0
        #expect(answer.result == 0)
        let line = "user \(geteuid()), session \"slow\", process \(getpid()): not ready"
        #expect(UpdateCall(answer.body).text == line)
        #expect(try daemon.log().contains("update: goes on without \(line)"))
        _ = try question(slow)
        #expect(try isNextBoot(slow) && isNextBoot(quick))
    }

    @Test("READY is refused without a question, for another question, and with a reserved field") func strayReady()
        throws
    {
        let (session, last) = (try subscriber(), try subscriber("last"))
        #expect(try refusal { try session.ready(to: 7) } == .staleNFSFileHandle)
        #expect(try refusal { try session.subscribe(2) } == .invalidArgument)
        let update = try root.beginChange(.update, patience: Self.long)
        let question = try question(session)
        let other = try client.create("other")
        #expect(try refusal { try other.ready(to: question) } == .staleNFSFileHandle, "it was not asked")
        #expect(try refusal { try session.ready(to: question + 1) } == .staleNFSFileHandle)
        let reserved = ReadyCall(question, reserved: 1).body
        #expect(try refusal { try session.call(.ready, reserved) } == .invalidArgument)
        for _ in 0..<2 { try session.ready(to: question) }
        try last.ready(to: question)
        #expect(try root.changed(update) == nil)
    }

    @Test("An update does not wait for a subscriber that unsubscribes, closes its session or loses it") func gone()
        async throws
    {
        let sessions = try ["a", "b", "c"].map { try subscriber($0) }
        let update = try root.beginChange(.update, patience: Self.long)
        for session in sessions { _ = try question(session) }
        try sessions[0].subscribe(0)
        sessions[1].close()
        #expect(!root.descriptor.isReadable(within: 20))
        #expect(try daemon.connect().remove("c", flags: UpdateCall.force) == nil)
        #expect(try root.changed(update) == nil)
        #expect(try !isUnread(sessions[0]), "it has unsubscribed")
        #expect(try isNextBoot(sessions[2]), "it has lost its session only")
    }

    @Test("A second update, a load, a reload and a stop are refused while clients are asked") func busy() throws {
        let session = try subscriber()
        let update = try root.beginChange(.update, patience: Self.long)
        let question = try question(session)
        let other = try daemon.connect()
        for call in [Call.update, .load, .reload, .stop] {
            #expect(try other.change(call, flags: UpdateCall.discard)?.errno == .resourceBusy, "\(call)")
        }
        try session.ready(to: question)
        #expect(try root.changed(update) == nil)
    }

    @Test("An image that dies while clients are asked calls the update off, and the clients are told") func image()
        throws
    {
        let session = try subscriber()
        let standby = try daemon.loadedStandby(root)
        let update = try root.beginChange(.update, patience: Self.long)
        _ = try question(session)
        kill(standby, SIGKILL)
        #expect(try root.changed(update)?.errno == .notSupported)
        #expect(try !isNextBoot(session))
        #expect(try session.get(1).bytes() == [1, 2, 3])
    }

    // MARK: Deaths

    @Test("A client is still asked after the orchestrator was killed") func orchestratorDies() throws {
        let session = try subscriber()
        let orchestrator = try root.status().orchestrator
        kill(orchestrator, SIGKILL)
        // The killed process could otherwise still accept the update, which is then called off.
        try #require(try soon(within: 60) { try root.status().orchestrator != orchestrator })
        let update = try root.beginChange(.update, patience: Self.long)
        try session.ready(to: try question(session))
        #expect(try root.changed(update) == nil)
        #expect(try isNextBoot(session))
    }

    @Test("A standby that did not read for a while knows the subscriptions when it takes over") func standbyBehind()
        throws
    {
        let (session, other) = (try client.create("vm"), try client.create("other"))
        let standby = try daemon.loadedStandby(root)
        kill(standby, SIGSTOP)
        // The keeper has room for some thousand messages to the standby.
        for number in 1...20_000 { try other.subscribe(number % 2 == 0 ? 0 : 1) }
        try session.subscribe()
        kill(standby, SIGCONT)
        #expect(try root.change(.reload) == nil)
        let update = try root.beginChange(.update, patience: Self.long)
        try session.ready(to: try question(session))
        #expect(try root.changed(update) == nil)
    }

    @Test("If the orchestrator dies while it asks, the next one says that the update is over, and asks again later")
    func diesAsking() throws {
        let session = try subscriber()
        let update = try root.beginChange(.update, patience: Self.long)
        let question = try question(session)
        kill(try daemon.connect().status().orchestrator, SIGKILL)
        #expect(try root.changed(update)?.errno == .canceled)
        #expect(try !isNextBoot(session))
        #expect(try refusal { try session.ready(to: question) } == .staleNFSFileHandle)
        let again = try root.beginChange(.update, patience: Self.long)
        let next = try self.question(session)
        #expect(next != question)
        try session.ready(to: next)
        #expect(try root.changed(again) == nil)
        #expect(try isNextBoot(session))
    }

    @Test("A keeper that dies while clients are asked calls the update off, and the clients are told") func keeperDies()
        throws
    {
        let session = try subscriber()
        let update = try root.beginChange(.update, patience: Self.long)
        _ = try question(session)
        daemon.killKeeper()
        #expect(try root.changed(update)?.errno == .socketNotConnected)
        #expect(try !isNextBoot(session))
    }

    // MARK: Clients that do not read

    @Test("A subscriber that never reads blocks no other client, and counts as not ready") func neverReads() throws {
        let silent = try subscriber("silent")
        // The answer stays unread, so that there is no room for a notice.
        try silent.ask(.getName, NameCall("").body)
        let quick = try subscriber("quick")
        for number in 1...3 {
            let update = try root.beginChange(.update, patience: 200)
            try quick.ready(to: try question(quick))
            let why = try #require(try root.changed(update)).why
            #expect(why.contains("session \"silent\"") && !why.contains("quick"), "update \(number): \(why)")
            #expect(try !isNextBoot(quick))
        }
        #expect(try daemon.connect().status().updates == 0)
        let answer = try #require(try silent.descriptor.receive(.now))
        #expect(Notice(answer.bytes) == nil)
        #expect(!silent.descriptor.isReadable(within: 0), "a notice was sent although nothing was read")

        // Now there is room, but nothing is read: the client gets one notice of each kind.
        for _ in 0..<3 { #expect(try root.change(.update, flags: 0, patience: 100)?.errno == .timedOut) }
        let kinds = try (0..<2).map { _ in try silent.notice()?.kind }
        #expect(kinds == [.freezeSoon, .over] && !silent.descriptor.isReadable(within: 0))
    }

    @Test("A client whose socket had no room is asked as soon as it has read its last answer") func readsLater() throws
    {
        let session = try subscriber()
        let tag = try session.ask(.ready, ReadyCall(1).body)
        try #require(session.descriptor.isReadable(within: 60_000))
        let update = try root.beginChange(.update, patience: Self.long)
        #expect(try session.answer(to: tag).0.result == -Errno.staleNFSFileHandle.rawValue)
        try session.ready(to: try question(session))
        #expect(try root.changed(update) == nil)
        #expect(try isNextBoot(session))
    }

    @Test(
        "Another user's subscriber delays root by the patience only, and cannot keep root from updating", .requiresRoot)
    func otherUser() async throws {
        let open = try await RunningDaemon(["--socket-mode", "0666"])
        let root = try open.connect()
        let session = try open.connect(as: nobody).create("hostile")
        try session.subscribe()
        let refused = try #require(try root.change(.update, patience: 200))
        #expect(refused.errno == .timedOut && refused.why.contains("user \(nobody), session \"hostile\""))
        #expect(try root.change(.update, flags: UpdateCall.withoutReady, patience: 200) == nil)
    }

    @Test("A thread preserves a large file of a client that is being asked") func longRequest() throws {
        let session = try subscriber()
        let update = try root.beginChange(.update, patience: Self.long)
        let question = try question(session)
        let large = try MemoryFile(size: 8 << 30)
        try session.preserve(large, 2)
        try session.ready(to: question)
        #expect(try root.changed(update) == nil)
        #expect(try client.retrieveSession("vm").retrieve(2).identity == large.identity)
    }

    // MARK: The library and luoctl

    @Test("The library subscribes, reads notices also between answers, and says ready") func library() throws {
        let device = try LiveUpdateDevice.luod(state: FilePath(daemon.state))
        let session = try device.createSession("lib")
        #expect(try session.nextNotice(within: .zero) == nil)
        try session.subscribe()
        #expect(try session.nextNotice(within: .milliseconds(1)) == nil)
        let update = try root.beginChange(.update, patience: Self.long)
        try #require(session.descriptor.isReadable(within: 60_000))
        #expect(try session.name() == "lib", "the notice is set aside")
        guard case .freezeSoon(let question) = try session.nextNotice() else {
            Issue.record("no question")
            return
        }
        #expect(question.timeLeft > .seconds(1) && question.timeLeft <= .seconds(600))
        try session.ready(to: question)
        #expect(try root.changed(update) == nil)
        #expect(try session.nextNotice() == .over(isNextBoot: true))
        #expect { try session.ready(to: question) } throws: {
            ($0 as? LiveUpdateError)?.errno == .operationNotSupportedByDevice
        }
        #expect { try session.subscribe() } throws: {
            ($0 as? LiveUpdateError)?.errno == .operationNotSupportedByDevice
        }
    }

    @Test("If clients are not ready, an update by the library is called off, or goes on") func libraryUpdates()
        throws
    {
        let device = try LiveUpdateDevice.luod(state: FilePath(daemon.state))
        let session = try subscriber("slow")
        defer { session.close() }
        #expect { try device.update(patience: .milliseconds(100)) } throws: {
            let error = $0 as? LiveUpdateError
            return error?.errno == .timedOut && error?.reason.contains("session \"slow\"") == true
        }
        let times = try device.update(patience: .zero, withoutReady: true)
        #expect(times.remarks == ["user \(geteuid()), session \"slow\", process \(getpid()): not ready"])
    }

    @Test("The Python client subscribes, sets notices aside, and says ready", .enabled(if: hasPython)) func python()
        async throws
    {
        let script = """
            import luo, sys
            session = luo.Device(sys.argv[1]).create("py")
            session.subscribe()
            assert session.notice(0) is None
            print("subscribed", flush=True)
            question = session.notice(60)
            assert question.kind == luo.FREEZE_SOON and 0 < question.value <= 600_000
            assert session.name() == "py"
            session.ready(question)
            assert session.notice() == (luo.OVER, 0, 0), "the first update is called off"
            print("over", flush=True)
            while not session._notices:
                assert session.name() == "py"
            session.ready(session.notice())
            assert session.notice(60) == (luo.OVER, 1, 0)
            """
        let program = try Program(
            ["/usr/bin/env", "python3", "-c", script, daemon.state],
            environment: ["PYTHONPATH=\(Self.directory("python"))"])
        try await eventually("a subscription", within: 60) {
            try program.outputSoFar.contains("subscribed") || program.hasEnded
        }
        let slow = try subscriber("slow")
        #expect(try root.change(.update, patience: 2000)?.why.contains("session \"py\"") == false)
        try await eventually("the end of the first update", within: 60) {
            try program.outputSoFar.contains("over") || program.hasEnded
        }
        slow.close()
        #expect(try root.change(.update, patience: Self.long) == nil)
        let ended = try await program.ended()
        #expect(ended.status == 0, "\(ended)")
    }

    @Test("Programs under luoctl run have neither SUBSCRIBE nor READY", .enabled(if: hasPython)) func ioctls()
        async throws
    {
        let script = """
            import errno, liveupdate
            session = liveupdate.create(liveupdate.open_device(), "s")
            for command, layout, *fields in (0xBA66, "I", 1), (0xBA67, "IQ", 0, 1):
                try:
                    liveupdate.call(session, command, layout, *fields)
                    raise SystemExit("it was accepted")
                except OSError as error:
                    assert error.errno == errno.EINVAL, error
            """
        let ended = try await run(
            [Program.path("luoctl"), "run", "--state", daemon.state, "--", "/usr/bin/env", "python3", "-c", script],
            environment: ["PYTHONPATH=\(Self.directory("Examples/python"))"])
        #expect(ended.status == 0, "\(ended)")
    }

    /// A directory with Python modules.
    private static func directory(_ name: String) -> String {
        URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../../../\(name)").path
    }

    @Test("luoctl update waits as long as it is told, and names the clients that are not ready") func luoctl()
        async throws
    {
        let session = try subscriber("slow")
        func update(_ options: String...) async throws -> Ended {
            try await run(
                [Program.path("luoctl"), "update", "--state", daemon.state, "--timeout", "1"] + options)
        }
        let failed = try await update("--patience-ready", "1500")
        let line = "user \(geteuid()), session \"slow\", process \(getpid()): not ready"
        let reason = "ETIMEDOUT: 1 client was not ready for the update within 1500 ms:\n  \(line)\n"
        #expect(failed.status == 1 && failed.errors.contains(reason), "\(failed)")
        #expect(failed.errors.contains("luoctl update --without-ready"), "\(failed)")
        _ = try question(session)
        #expect(try !isNextBoot(session))
        let made = try await update("--patience-ready", "10", "--without-ready", "--json")
        #expect(made.status == 0 && made.output.contains("session \\\"slow\\\""), "\(made)")
        #expect(try await update("--patience-ready", "86400001").status == 64)
    }
}
