// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage
import TestSupport
import Testing

/// luod before and after a replacement of the kernel. The kernel of this machine stays: the file `kernel` of the state
/// says which kernel luod has served under, and a test changes it. Tests/VM has tests with a real kexec.
@Suite struct KernelUpdateTests {
    private let daemon: RunningDaemon
    private let root: DaemonClient

    init() async throws {
        daemon = try await RunningDaemon()
        root = try daemon.connect()
    }

    private var kernelFile: String { "\(daemon.state)/kernel" }

    private func detached(_ name: SessionName) throws -> DaemonClient {
        let session = try root.create(name)
        try session.preserve(try MemoryFile(bytes: [7]), 1)
        try session.setDetached(true)
        return session
    }

    /// Ends all processes of luod at once, as a kexec does, and starts luod under another kernel.
    private func startAgain(underOtherKernel isOther: Bool) async throws {
        daemon.killEverything()
        if isOther {
            let other = "00000000-1111-2222-3333-444444444444\n"
            try other.write(toFile: kernelFile, atomically: false, encoding: .utf8)
        }
        try await daemon.start()
    }

    private func publish(_ client: DaemonClient, _ flags: UInt32 = UpdateCall.leaveOut) throws -> (
        errno: Errno, why: String
    )? { try client.change(.kernelUpdate, flags: flags) }

    @Test("Files that end with the kernel refuse the update, and the reason names all of them") func refuses() throws {
        let session = try detached("mine")
        try session.preserve(try MemoryFile(), 2)
        let refused = try publish(root, 0)
        #expect(refused?.errno == .notSupported)
        for part in [
            "2 files cannot go to the next kernel", "user \(geteuid()), session \"mine\", token 1", "token 2",
            "memfd-extents-v1", "--leave-behind", "luoctl dax plan",
        ] { #expect(refused?.why.contains(part) == true, "\(refused?.why ?? "")") }
        #expect(try session.get(1).bytes() == [7])
    }

    @Test("A question about the update changes nothing") func asks() throws {
        let session = try detached("mine")
        #expect(try publish(root, UpdateCall.leaveOut | UpdateCall.onlyAsk) == nil)
        #expect(try session.get(1).bytes() == [7])
        try session.preserve(try MemoryFile(), 2)
    }

    @Test("Unfinished sessions refuse the update, unless it may discard them") func unfinished() throws {
        _ = try detached("mine")
        #expect(try root.change(.update) == nil)
        let refused = try publish(root, UpdateCall.leaveOut | UpdateCall.onlyAsk)
        #expect(refused?.errno == .resourceBusy && refused?.why.contains("\"mine\"") == true, "\(refused?.why ?? "")")
        let flags = UpdateCall.leaveOut | UpdateCall.discard | UpdateCall.onlyAsk
        #expect(try publish(root, flags) == nil)
    }

    @Test("While the state is published clients wait, and luod goes on when the client of the update gives up")
    func calledOff() throws {
        let session = try detached("mine")
        let updater = try daemon.connect()
        #expect(try publish(updater) == nil)
        let tag = try session.ask(.get, FileCall(token: 1).body)
        updater.close()
        let (answer, descriptors) = try session.answer(to: tag)
        #expect(answer.result == 0)
        for descriptor in descriptors {
            #expect(try MemoryFile(taking: OwnedDescriptor(taking: descriptor)).bytes() == [7])
        }
        #expect(try daemon.log().contains("called off"))
        #expect(try root.change(.update) == nil)
    }

    @Test("Published, and the same kernel: the boot goes on") func sameKernel() async throws {
        _ = try detached("mine")
        #expect(try publish(root) == nil)
        try await startAgain(underOtherKernel: false)
        let client = try daemon.connect()
        let status = try client.status()
        #expect(status.sessions.map(\.name) == ["mine"])
        #expect(status.sessions.allSatisfy { $0.direction == "outgoing" })
        #expect(try !daemon.log().contains("another kernel"))
    }

    @Test("Published, and another kernel: the next boot begins, and a retrieve says why a file stayed behind")
    func otherKernel() async throws {
        _ = try detached("mine")
        #expect(try publish(root) == nil)
        try await startAgain(underOtherKernel: true)
        let client = try daemon.connect()
        let came = try client.retrieveSession("mine")
        #expect(try refusal { try came.retrieve(1) } == .notSupported)
        let problem = try client.status().sessions.first?.files.first?.problem
        #expect(problem?.contains("ends with the kernel") == true, "\(problem ?? "")")
        try came.finish()
        #expect(try daemon.log().contains("another kernel"))
    }

    @Test("Nothing published, and another kernel: the same boot goes on") func restarted() async throws {
        _ = try detached("mine")
        try await startAgain(underOtherKernel: true)
        let client = try daemon.connect()
        #expect(try client.status().sessions.map(\.direction) == ["outgoing"])
        #expect(try refusal { try client.attach("mine").get(1) } == .badFileDescriptor)
        let log = try daemon.log()
        #expect(log.contains("the kernel restarted without an update"), "\(log)")
    }

    @Test("An orchestrator that dies before it serves does not make the kernel the same one") func diesFirst()
        async throws
    {
        _ = try detached("mine")
        #expect(try publish(root) == nil)
        daemon.killEverything()
        // luod ends when its orchestrators die at their start (in debug builds).
        let text = "00000000-1111-2222-3333-444444444444\n"
        try text.write(toFile: kernelFile, atomically: false, encoding: .utf8)
        let dying = try Program(
            [Program.path("luod"), "--state", daemon.state], environment: ["LUO_TEST_START=\(daemon.state)"])
        let ended = try await dying.ended()
        #expect(ended.status == 69 && ended.errors.contains("died before they could serve"), "\(ended)")
        #expect(try String(contentsOfFile: kernelFile, encoding: .utf8) == text)
        try await daemon.start()
        #expect(try daemon.connect().status().sessions.map(\.direction) == ["incoming"])
    }

    @Test("On request, luod publishes when it is ended") func atEnd() async throws {
        let session = try detached("mine")
        #expect(try publish(root, UpdateCall.leaveOut | UpdateCall.atEnd) == nil)
        #expect(try session.get(1).bytes() == [7])
        #expect(try await daemon.end().status == 0)
        try await startAgain(underOtherKernel: true)
        #expect(try daemon.connect().status().sessions.map(\.direction) == ["incoming"])
    }

    @Test("The request for the end of luod outlives orchestrators and updates, and files that come later are left out")
    func outlivesOrchestrator() async throws {
        _ = try detached("mine")
        #expect(try publish(root, UpdateCall.leaveOut | UpdateCall.atEnd) == nil)
        kill(try root.status().orchestrator, SIGKILL)
        let later = try root.create("later")
        try later.preserve(try MemoryFile(bytes: [9]), 1)
        try later.setDetached(true)
        #expect(try await daemon.end().status == 0)
        try await startAgain(underOtherKernel: true)
        #expect(try daemon.connect().status().sessions.map(\.direction) == ["incoming", "incoming"])
    }

    @Test("At the end of luod it is too late to refuse: a file that cannot go stops nothing") func lateFile()
        async throws
    {
        try root.create("empty").setDetached(true)
        #expect(try publish(root, UpdateCall.atEnd) == nil)
        _ = try detached("late")
        #expect(try await daemon.end().status == 0)
        try await startAgain(underOtherKernel: true)
        #expect(try daemon.connect().status().sessions.map(\.direction) == ["incoming", "incoming"])
    }

    @Test("The request for the end of luod can be taken back") func forgets() async throws {
        _ = try detached("mine")
        #expect(try publish(root, UpdateCall.leaveOut | UpdateCall.atEnd) == nil)
        #expect(try publish(root, UpdateCall.forget) == nil)
        #expect(try await daemon.end().status == 0)
        try await startAgain(underOtherKernel: true)
        #expect(try daemon.connect().status().sessions.map(\.direction) == ["outgoing"])
    }

    // MARK: The holder

    /// The process that holds the memory files while no luod runs.
    private func holder() throws -> pid_t {
        let text = try String(contentsOfFile: "\(daemon.state)/holder", encoding: .utf8)
        let words = text.split(separator: " ")
        #expect(words.count == 3, "\(text)")
        return try #require(pid_t(words[1]))
    }

    private var hasHolderFile: Bool { FileManager.default.fileExists(atPath: "\(daemon.state)/holder") }

    @Test("When the kernel was not replaced after all, the next luod takes everything back from the holder")
    func holderGivesBack() async throws {
        let session = try detached("mine")
        let file = try MemoryFile(bytes: [9, 9])
        try session.preserve(file, 2)
        #expect(try publish(root, UpdateCall.leaveOut | UpdateCall.atEnd) == nil)
        #expect(try await daemon.end().status == 0)
        let holder = try holder()
        #expect(daemon.processes == [holder])
        try await daemon.start()
        let client = try daemon.connect()
        #expect(try client.status().sessions.map(\.direction) == ["outgoing"])
        #expect(try client.attach("mine").get(1).bytes() == [7])
        let again = try client.attach("mine").get(2)
        #expect(again.identity == file.identity)
        try await eventually("the end of the holder", within: 60) { !daemon.processes.contains(holder) }
        #expect(!hasHolderFile)
    }

    @Test("The holder survives the signals of a service manager, and keeps no file system busy")
    func holderStaysOutOfTheWay() async throws {
        _ = try detached("mine")
        #expect(try publish(root, UpdateCall.leaveOut | UpdateCall.atEnd) == nil)
        #expect(try await daemon.end().status == 0)
        let holder = try holder()
        let command = try String(contentsOfFile: "/proc/\(holder)/cmdline", encoding: .utf8)
        #expect(command.hasPrefix("@"))
        #expect(try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(holder)/cwd") == "/")
        for signal in [SIGTERM, SIGINT, SIGHUP] { kill(holder, signal) }
        let status = try String(contentsOfFile: "/proc/\(holder)/status", encoding: .utf8)
        let ignored = status.split(separator: "\n").first { $0.hasPrefix("SigIgn:") }?.split(separator: "\t").last
        let mask = try #require(ignored.flatMap { UInt64($0, radix: 16) })
        for signal in [SIGTERM, SIGINT, SIGHUP] { #expect(mask >> (signal - 1) & 1 == 1) }
        #expect(status.contains("CapPrm:\t0000000000000000") && status.contains("NoNewPrivs:\t1"), "\(status)")
        for number in try FileManager.default.contentsOfDirectory(atPath: "/proc/\(holder)/fd") {
            let target = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(holder)/fd/\(number)")
            #expect(target == "/dev/null" || target.hasPrefix("/memfd:") || !target.hasPrefix("/"), "\(target)")
        }
        #expect(daemon.processes == [holder])
    }

    @Test("Memory files are lost with their holder, and luod says so") func holderKilled() async throws {
        _ = try detached("mine")
        #expect(try publish(root, UpdateCall.leaveOut | UpdateCall.atEnd) == nil)
        #expect(try await daemon.end().status == 0)
        kill(try holder(), SIGKILL)
        try await eventually("the end of the holder", within: 60) { daemon.processes.isEmpty }
        try await daemon.start()
        #expect(try refusal { try daemon.connect().attach("mine").get(1) } == .badFileDescriptor)
        #expect(try daemon.log().contains("was ended: the files are lost"))
        #expect(!hasHolderFile)
    }

    @Test("A luod that is killed while it takes everything back leaves the holder to the next one")
    func killedMeanwhile() async throws {
        _ = try detached("mine")
        #expect(try publish(root, UpdateCall.leaveOut | UpdateCall.atEnd) == nil)
        #expect(try await daemon.end().status == 0)
        let holder = try holder()
        // This luod takes the descriptors, and cannot lock the arena.
        let arena = try FileDescriptor.open(FilePath("\(daemon.state)/arena"), .readWrite)
        try arena.lockForWriting()
        let ended = try await daemon.startAnother()
        #expect(ended.status == 69 && ended.errors.contains("in use"), "\(ended)")
        try arena.close()
        #expect(daemon.processes == [holder])
        try await daemon.start()
        #expect(try daemon.connect().attach("mine").get(1).bytes() == [7])
    }

    @Test("The request for the end of luod outlives the replacement of the keeper") func outlivesKeeper() async throws {
        _ = try detached("mine")
        #expect(try publish(root, UpdateCall.leaveOut | UpdateCall.atEnd) == nil)
        #expect(try root.change(.reload, flags: UpdateCall.keeper) == nil)
        #expect(try await daemon.end().status == 0)
        try await startAgain(underOtherKernel: true)
        #expect(try daemon.connect().status().sessions.map(\.direction) == ["incoming"])
    }

    @Test("Without memory files there is no holder, for which a service manager would wait") func nothingToHold()
        async throws
    {
        try root.create("empty").setDetached(true)
        #expect(try publish(root, UpdateCall.atEnd) == nil)
        #expect(try await daemon.end().status == 0)
        #expect(!hasHolderFile && daemon.processes.isEmpty)
    }

    @Test("On request no process holds memory files, and the log says which files are left behind")
    func withoutHolder() async throws {
        _ = try detached("mine")
        let flags = UpdateCall.atEnd | UpdateCall.withoutHolder
        #expect(try publish(root, flags)?.errno == .notSupported)
        #expect(try publish(root, flags | UpdateCall.leaveOut) == nil)
        let ended = try await daemon.end()
        #expect(ended.status == 0 && ended.errors.contains("goes on without user"), "\(ended)")
        #expect(!hasHolderFile && daemon.processes.isEmpty)
        try await startAgain(underOtherKernel: true)
        #expect(try daemon.connect().status().sessions.map(\.direction) == ["incoming"])
    }

    @Test("An orchestrator that dies at the end of luod, before it has published, is replaced") func diesAtTheEnd()
        async throws
    {
        _ = try detached("mine")
        #expect(try publish(root, UpdateCall.leaveOut | UpdateCall.atEnd) == nil)
        let status = try root.status()
        kill(status.orchestrator, SIGSTOP)
        kill(status.keeper, SIGTERM)
        // The keeper has asked the orchestrator, which has not read it.
        try await Task.sleep(for: .milliseconds(300))
        kill(status.orchestrator, SIGKILL)
        try await eventually("the end of luod", within: 60) { kill(status.keeper, 0) != 0 || daemon.hasEnded }
        #expect(try daemon.log().contains("another is started"))
        try await startAgain(underOtherKernel: true)
        #expect(try daemon.connect().status().sessions.map(\.direction) == ["incoming"])
    }

    // MARK: While the state is published

    @Test("While the state is published, luoctl fails at once, and names the process that luod waits for")
    func refusedWhilePublished() async throws {
        let session = try detached("mine")
        let updater = try daemon.connect()
        #expect(try publish(updater) == nil)
        for arguments in [["status"], ["stop"]] {
            let ended = try await IntegrationTests.run(
                [Program.path("luoctl")] + arguments + ["--state", daemon.state])
            #expect(ended.status != 0 && ended.errors.contains("process \(getpid())"), "\(ended)")
        }
        #expect(try updater.change(.kernelUpdate, flags: UpdateCall.confirm) == nil)
        updater.close()
        #expect(try session.get(1).bytes() == [7])
        let ended = try await IntegrationTests.run([Program.path("luoctl"), "status", "--state", daemon.state])
        #expect(ended.status == 0, "\(ended)")
    }

    @Test("When the process that has published is killed, the client of the update learns that nothing is published")
    func killedWhilePublished() async throws {
        let session = try detached("mine")
        let updater = try daemon.connect()
        let orchestrator = try root.status().orchestrator
        #expect(try publish(updater) == nil)
        #expect(try updater.change(.kernelUpdate, flags: UpdateCall.confirm) == nil)
        kill(orchestrator, SIGKILL)
        #expect(try updater.change(.kernelUpdate, flags: UpdateCall.confirm)?.errno == .canceled)
        #expect(try session.get(1).bytes() == [7])
    }

    @Test("Unknown flags are refused", arguments: [4, 8, 16, 1024, 1 << 31] as [UInt32]) func flags(unknown: UInt32)
        throws
    {
        let session = try detached("mine")
        #expect(try publish(root, UpdateCall.leaveOut | unknown)?.errno == .invalidArgument)
        #expect(try session.get(1).bytes() == [7])
    }

    @Test("A file that is not luod's own is not taken for the record of the kernel") func foreignRecord() async throws {
        #expect(try await daemon.end().status == 0)
        try FileManager.default.removeItem(atPath: kernelFile)
        try FileManager.default.createSymbolicLink(atPath: kernelFile, withDestinationPath: "/etc/passwd")
        let ended = try await daemon.startAnother()
        #expect(ended.status == 65 && ended.errors.contains("kernel is not a regular file"), "\(ended)")
    }
}
