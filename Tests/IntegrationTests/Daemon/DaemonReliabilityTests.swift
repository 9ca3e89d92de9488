// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage
import TestSupport
import Testing

/// Faults around luod, and between its processes. luod goes on, and reports them.
@Suite struct DaemonReliabilityTests {
    /// A change to the file of the running program.
    enum Replacement: CaseIterable {
        case nothing, text, anotherProgram

        func replace(_ path: String) throws {
            try FileManager.default.removeItem(atPath: path)
            switch self {
            case .nothing: break
            case .text: try "no program".write(toFile: path, atomically: true, encoding: .utf8)
            case .anotherProgram: try FileManager.default.copyItem(atPath: "/bin/false", toPath: path)
            }
        }
    }

    @Test("The running program is started again after any change to its file", arguments: Replacement.allCases)
    func lostImage(replacement: Replacement) async throws {
        let room = try TemporaryDirectory()
        let path = room.file("luod")
        try await install([Program.path("luod")], into: room.path)
        let daemon = try await RunningDaemon(image: path)
        let client = try daemon.connect()
        let session = try client.create("s")
        let file = try MemoryFile(bytes: [1])
        try session.preserve(file, 1)
        try replacement.replace(path)
        let before = try client.status()
        Glibc.kill(before.orchestrator, SIGKILL)
        #expect(try session.take(1).identity == file.identity)
        let after = try client.status()
        #expect(after.keeper == before.keeper && after.orchestrator != before.orchestrator)
    }

    @Test("Descriptors in flight in other processes do not keep luod from answering") func underWay() async throws {
        let (reading, writing) = try MessageSocket.pair()
        let receiver = OwnedDescriptor(taking: reading)
        let sender = OwnedDescriptor(taking: writing)
        let file = try MemoryFile()
        // These are more descriptors than luod may have open. The kernel counts them by user.
        try sender.borrowed.send([1], [FileDescriptor](repeating: file.descriptor, count: 200))
        let daemon = try await RunningDaemon(["--max-descriptors", "128"])
        let session = try daemon.connect().create("s")
        try session.preserve(file, 1)
        #expect(try session.take(1).identity == file.identity)
        #expect(try receiver.borrowed.receive(.now).map { $0.close() } != nil)
    }

    @Test("Requests in a row leave no busy process") func sleeps() async throws {
        let daemon = try await RunningDaemon()
        let client = try daemon.connect()
        for _ in 0..<200 { _ = try client.status() }
        let orchestrator = try client.status().orchestrator
        let used = try RunningDaemon.processorTime(of: orchestrator)
        usleep(500_000)
        #expect(try RunningDaemon.processorTime(of: orchestrator) - used < 20, "hundredths of a second, in 50")
    }

    @Test("An image that has gone before the update does not call it off") func goneBefore() async throws {
        let daemon = try await RunningDaemon(["--patience", "60000"])
        let client = try daemon.connect()
        _ = try client.create("s")
        let standby = try daemon.loadedStandby(client)
        let running = try client.status()
        // The orchestrator learns of the end of its image together with the update.
        Glibc.kill(running.orchestrator, SIGSTOP)
        Glibc.kill(standby, SIGKILL)
        try await eventually("the end of the image", within: 60) { Glibc.kill(standby, 0) == -1 }
        let update = try client.ask(.update, UpdateCall().body)
        Glibc.kill(running.orchestrator, SIGCONT)
        let answer = try client.answer(to: update).0
        #expect(answer.result == 0, "\(UpdateCall(answer.body).text)")
        #expect(try client.status().updates == 1)
    }

    @Test("A keeper that does not read loses its role and ends when it notices, and another takes its place")
    func deafKeeper() async throws {
        let daemon = try await RunningDaemon()
        let client = try daemon.connect()
        let session = try client.create("s")
        let file = try MemoryFile()
        try session.preserve(file, 1)
        let keeper = daemon.keeper
        Glibc.kill(keeper, SIGSTOP)
        for round in 0..<10_000 where try client.status().keeper != 0 { try client.create("\(round)").close() }
        #expect(try client.status().keeper == 0)
        #expect(try client.change(.update)?.errno == .socketNotConnected)
        try session.preserve(try MemoryFile(), 2)
        Glibc.kill(keeper, SIGCONT)
        try await eventually("the end of the keeper that is none", within: 60) { !daemon.processes.contains(keeper) }
        try await daemon.start()
        #expect(try client.change(.update) == nil)
        let came = try client.retrieveSession("s")
        #expect(try came.retrieve(1).identity == file.identity && came.retrieve(2).identity != file.identity)
    }

    @Test("An update is refused at once while the keeper is stopped, and succeeds when the keeper goes on")
    func stoppedKeeper() async throws {
        let daemon = try await RunningDaemon()
        let client = try daemon.connect()
        Glibc.kill(daemon.keeper, SIGSTOP)
        try await eventually("the silence", within: 60) { try !client.status().keeperAnswers }
        let refusal = try client.change(.update)
        #expect(refusal?.errno == .socketNotConnected)
        #expect(refusal?.why.contains("is stopped\nremedy: let it continue (kill -CONT") == true, "\(refusal as Any)")
        Glibc.kill(daemon.keeper, SIGCONT)
        try await eventually("an answer", within: 60) { try client.status().keeperAnswers }
        #expect(try client.change(.update) == nil)
    }

    @Test(
        "The orchestrator and the next image die at once, and are not confused with their successors",
        arguments: 0...3) func bothDie(free: UInt64) async throws
    {
        let daemon = try await RunningDaemon()
        let client = try daemon.connect()
        let session = try client.create("s")
        let files = try (0..<4).map { _ in try MemoryFile() }
        for token in 0..<free { try session.preserve(files[Int(token)], token) }
        #expect(try client.change(.load) == nil)
        // The keeper's next descriptors get these numbers, and then the descriptors of the image.
        for token in 0..<free { _ = try session.take(token) }
        let running = try client.status()
        let both = daemon.processes.filter { $0 != running.keeper }
        // The keeper learns of both deaths together.
        Glibc.kill(running.keeper, SIGSTOP)
        for process in both { Glibc.kill(process, SIGKILL) }
        Glibc.kill(running.keeper, SIGCONT)
        try session.preserve(files[3], 9)
        #expect(try client.change(.reload) == nil)
        #expect(try session.take(9).identity == files[3].identity)
    }

    @Test("A client's close is the last one, even if the keeper is slow") func lastClose() async throws {
        let daemon = try await RunningDaemon()
        let client = try daemon.connect()
        Glibc.kill(daemon.keeper, SIGSTOP)
        defer { Glibc.kill(daemon.keeper, SIGCONT) }
        for _ in 0..<10 { try client.create("s").close() }
        #expect(try client.status().sessions.isEmpty)
    }

    @Test("A session is opened once, and its descriptor comes, even if the orchestrator dies")
    func openedOnce() async throws {
        let daemon = try await RunningDaemon()
        let (client, other) = (try daemon.connect(), try daemon.connect())
        for number in 0..<20 {
            let running = try other.status().orchestrator
            let tag = try client.ask(.createSession, NameCall("\(number)").body)
            Glibc.kill(running, SIGKILL)
            let (response, descriptors) = try client.answer(to: tag)
            #expect(response.result == 0)
            let session = DaemonClient(taking: try #require(descriptors.first))
            #expect(try session.name() == "\(number)")
        }
        #expect(try client.status().sessions.isEmpty)
    }

    @Test("After the death of all processes a detached session has no holder, whatever reuses its number")
    func staleHolder() async throws {
        let daemon = try await RunningDaemon()
        let session = try daemon.connect().create("s")
        try session.setDetached(true)
        daemon.killEverything()
        try await eventually("the end of all", within: 60) { daemon.processes.isEmpty }
        try await daemon.start()
        let clients = try (0..<8).map { _ in try daemon.connect() }
        for client in clients { #expect(try client.status().sessions.map(\.isAttached) == [false]) }
        // This also holds after the death of an orchestrator that uses the present numbers.
        Glibc.kill(try clients[0].status().orchestrator, SIGKILL)
        #expect(try clients[1].status().sessions.map(\.isAttached) == [false])
        #expect(try clients[2].attach("s").name() == "s")
    }

    @Test("When the keeper dies before the switch, a hanging next image is ended, and the old boot goes on")
    func keeperInUpdate() async throws {
        let daemon = try await RunningDaemon(["--patience", "60000"])
        let (client, other) = (try daemon.connect(), try daemon.connect())
        let session = try client.create("s")
        let file = try MemoryFile()
        try session.preserve(file, 1)
        let standby = try daemon.loadedStandby(client)
        let running = try client.status()
        Glibc.kill(standby, SIGSTOP)
        // The request is a reload, because an update would first ask the image to prepare itself, which causes no
        // blackout.
        let update = try client.ask(.reload, UpdateCall().body)
        try #require(try soon(within: 60) { try daemon.waitsForKeeper(running.orchestrator) }, "no blackout")
        daemon.killKeeper()
        let answer = try client.answer(to: update).0
        #expect(answer.result == -Errno.socketNotConnected.rawValue)
        let after = try other.status()
        #expect(after.orchestrator == running.orchestrator && after.updates == 0 && after.keeper == 0)
        #expect(!daemon.processes.contains(standby))
        try await daemon.start()
        #expect(try client.change(.update) == nil)
        #expect(try client.retrieveSession("s").retrieve(1).identity == file.identity)
    }

    @Test("The effects of requests since an update stay when the orchestrator dies in a reload") func deathInReload()
        async throws
    {
        let daemon = try await RunningDaemon()
        let (client, other) = (try daemon.connect(), try daemon.connect())
        // The session is not finished, so only the journal has changed since the update.
        let before = try client.create("before")
        #expect(try client.change(.update) == nil)
        before.close()
        let session = try client.create("since")
        let file = try MemoryFile()
        try session.preserve(file, 1)
        let standby = try daemon.loadedStandby(client)
        let running = try client.status()
        Glibc.kill(standby, SIGSTOP)
        let reload = try client.ask(.reload, UpdateCall().body)
        try #require(try soon(within: 60) { try daemon.waitsForKeeper(running.orchestrator) }, "no blackout")
        Glibc.kill(running.orchestrator, SIGKILL)
        let answer = try client.answer(to: reload).0
        #expect(answer.result == -Errno.canceled.rawValue)
        // The first replacement answers, and finds nothing to take back.
        #expect(UpdateCall(answer.body).text.contains("signal 9"), "\(UpdateCall(answer.body).text)")
        #expect(try other.status().sessions.map(\.name) == ["before", "since"])
        #expect(try session.take(1).identity == file.identity)
    }

    @Test("A request that dies with the orchestrator is answered with the reason") func reason() async throws {
        let daemon = try await RunningDaemon(["--patience", "60000"])
        let client = try daemon.connect()
        let running = try client.status().orchestrator
        let reload = try client.ask(.reload, UpdateCall(text: try await daemon.silentImage()).body)
        let children = "/proc/\(daemon.keeper)/task/\(daemon.keeper)/children"
        let isUnderWay = try soon(within: 60) {
            try String(contentsOfFile: children, encoding: .utf8).split(separator: " ").count == 2
        }
        try #require(isUnderWay, "no reload")
        Glibc.kill(running, SIGKILL)
        let answer = try client.answer(to: reload).0
        #expect(answer.result == -Errno.canceled.rawValue)
        let why = UpdateCall(answer.body).text
        #expect(why.contains("signal 9") && why.contains("luod runs now"), "\(why)")
    }
}
