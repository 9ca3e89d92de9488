// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage
import TestSupport
import Testing

/// No user's files stop an update by root. The update names all files that cannot be frozen, and goes on without them
/// if a flag is set.
@Suite(.requiresRoot) struct LeaveOutTests {
    private let daemon: RunningDaemon
    private let root: DaemonClient
    private let stranger: DaemonClient

    init() async throws {
        daemon = try await RunningDaemon(["--socket-mode", "0666"])
        root = try daemon.connect()
        stranger = try daemon.connect(as: 2002)
    }

    private func truncated(_ session: DaemonClient, _ token: UInt64) throws -> MemoryFile {
        let file = try MemoryFile(size: 4096)
        try file.write([7], at: 0)
        try session.preserve(file, token)
        try file.descriptor.setSize(1)
        return file
    }

    @Test("Without the flag the update fails before any freeze, and names all files in its way")
    func namesAll() throws {
        let (theirs, mine) = (try stranger.create("theirs"), try root.create("mine"))
        let files = [try truncated(theirs, 77), try truncated(theirs, 78), try truncated(mine, 5)]
        try mine.preserve(try MemoryFile(), 6)
        let refused = try root.change(.update)
        #expect(refused?.errno == .staleNFSFileHandle)
        let why = refused?.why ?? ""
        for part in [
            "3 files", "user 2002, session \"theirs\", token 77", "token 78", "user 0, session \"mine\", token 5",
            "4096", "--leave-out",
        ] { #expect(why.contains(part), "\(why)") }
        #expect(!why.contains("token 6"))
        let sessions = try root.status().sessions
        #expect(sessions.flatMap(\.files).map { $0.problem != nil } == [true, true, true, false])
        try files[0].descriptor.setSize(4096)
        #expect(try root.status().sessions[0].files[0].problem == nil)
    }

    @Test(
        "With the flag, the next boot has descriptor and token of files that cannot be frozen",
        arguments: [false, true])
    func leavesOut(loadedBefore: Bool) throws {
        let (theirs, mine) = (try stranger.create("theirs"), try root.create("mine"))
        let file = try truncated(theirs, 77)
        let whole = try MemoryFile(bytes: [1, 2])
        try theirs.preserve(whole, 78)
        try mine.preserve(try MemoryFile(bytes: [3]), 1)
        if loadedBefore { #expect(try root.change(.load) == nil) }
        let left = try root.update(flags: UpdateCall.leaveOut)
        #expect(left.contains("user 2002, session \"theirs\", token 77"), "\(left)")
        let came = try stranger.retrieveSession("theirs")
        for _ in 0..<2 { #expect(try refusal { try came.retrieve(77) } == .staleNFSFileHandle) }
        kill(try root.status().orchestrator, SIGKILL)
        #expect(try refusal { try came.retrieve(77) } == .staleNFSFileHandle)
        #expect(try came.retrieveAsHeld(77).identity == file.identity)
        #expect(try came.retrieve(78).bytes() == [1, 2])
        let problem = try root.status().sessions.first { $0.name == "theirs" }?.files.first?.problem
        #expect(problem?.contains("4096") == true, "\(problem ?? "")")
        #expect(try root.retrieveSession("mine").retrieve(1).bytes() == [3])
        try came.finish()
        #expect(try root.status().sessions.allSatisfy { $0.isFinished || $0.name == "mine" })
    }

    @Test("An update with discard names each session and file that it discards") func discard() throws {
        let theirs = try stranger.create("theirs")
        try theirs.preserve(try MemoryFile(), 77)
        #expect(try root.change(.update) == nil)
        #expect(try root.change(.update)?.errno == .resourceBusy)
        let cost = try root.update(flags: UpdateCall.discard)
        #expect(cost.contains("user 2002, session \"theirs\": unfinished"), "\(cost)")
        #expect(cost.contains("token 77"), "\(cost)")
        let log = try daemon.log()
        for part in ["session \"theirs\": unfinished", "token 77"] { #expect(log.contains(part), "\(log)") }
        #expect(try root.status().sessions.isEmpty)
    }
}

extension DaemonClient {
    /// Updates luod.
    ///
    /// - Returns: the text of the answer, which lists the losses.
    fileprivate func update(flags: UInt32) throws -> String {
        UpdateCall(try call(.update, UpdateCall(flags: flags).body).body).text
    }
}
