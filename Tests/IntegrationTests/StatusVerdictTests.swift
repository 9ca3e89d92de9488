// SPDX-License-Identifier: Apache-2.0
import LiveUpdateProtocol
import Testing

@testable import luoctl

/// The verdict and the sums of `luoctl status`, as values.
@Suite struct StatusVerdictTests {
    private func file(
        _ token: String, size: UInt64? = 8192, allocated: UInt64? = 4096, problem: String? = nil, inode: UInt64 = 1,
        pageSize: UInt64? = nil
    ) -> LuodStatus.File {
        LuodStatus.File(
            token: token, compatible: "memfd-extents-v1", size: size, allocated: size == nil ? nil : allocated,
            retrieved: 0, problem: problem, device: size == nil ? nil : 9, inode: size == nil ? nil : inode,
            pageSize: pageSize)
    }

    private func session(_ direction: String, _ files: [LuodStatus.File], name: String = "vm") -> LuodStatus.Session {
        LuodStatus.Session(
            number: 1, name: name, owner: 7, direction: direction, isOpen: true, isFinished: false, isDetached: true,
            isAttached: false, files: files)
    }

    private func status(
        _ sessions: [LuodStatus.Session] = [], keeper: Int32 = 4, keeperAnswers: Bool = true, refusal: String? = nil,
        memory: [LuodStatus.Memory] = [], missing: [String] = [], ready: LuodStatus.Ready? = nil
    ) -> LuodStatus {
        LuodStatus(
            daemon: LuodStatus.Daemon(
                orchestrator: 5, keeper: keeper, keeperAnswers: keeperAnswers, refusal: refusal, memory: memory,
                missing: missing, ready: ready), sessions: sessions)
    }

    private func lines(_ status: LuodStatus) -> [String] { StatusVerdict(status).lines }

    @Test func healthy() {
        #expect(lines(status()) == ["healthy"])
        #expect(lines(status([session("outgoing", [file("1")])])) == ["healthy"])
    }

    @Test("A lost file comes with the command that removes it") func lost() {
        let outgoing = status([session("outgoing", [file("1"), file("2", size: nil, problem: "gone")])])
        #expect(
            lines(outgoing) == [
                "degraded: 1 file lost: user 7, session \"vm\", token 2: "
                    + "luoctl unpreserve --user 7 --session=vm --token 2 removes it"
            ])
        let incoming = status([session("incoming", [file("1", size: nil), file("2", size: nil)])])
        #expect(
            lines(incoming) == [
                "degraded: 2 files lost: the first is user 7, session \"vm\", token 1: "
                    + "luoctl finish --user 7 --session=vm ends the session"
            ])
        let other = status([session("incoming", [file("1", size: nil), file("2")])])
        #expect(lines(other)[0].hasSuffix("ends the session, and releases its 1 other file"))
    }

    @Test(
        "A session's name in a command is one word of the shell, and an option that was given is repeated",
        arguments: [
            ("vm", "--session=vm"), ("-x", "--session=-x"), ("a'b; true", #"'--session=a'\''b; true'"#),
            ("a b", "'--session=a b'"), (#"a\x0a"#, #"'--session=a\x0a'"#), ("$(x)", "'--session=$(x)'"),
        ])
    func quoted(name: String, word: String) {
        let status = status([session("outgoing", [file("1", size: nil)], name: name)])
        let remedy = StatusVerdict(status, state: "/a b").faults[0].remedy
        #expect(remedy == "luoctl unpreserve '--state=/a b' --user 7 \(word) --token 1 removes it")
    }

    @Test("Faults of luod's own processes and of its state") func daemon() {
        #expect(lines(status(keeper: 0, keeperAnswers: false))[0].hasPrefix("degraded: the keeper has died"))
        let silent = lines(status(keeperAnswers: false))
        #expect(silent[0].contains("keeper 4 does not answer") && silent[0].contains("kill -CONT 4"), "\(silent)")
        #expect(lines(status(refusal: "why"))[0].contains("cannot read its state, and serves only root: why"))
        var unnamed = status()
        unnamed.daemon.arenaIsNamed = false
        #expect(lines(unnamed)[0].hasPrefix("degraded: the arena was removed"))
        let both = lines(status(keeper: 0, refusal: "why", missing: ["a: b"]))
        #expect(both.count == 3 && both[1].hasPrefix("also: ") && both[2] == "also: persistent memory is missing: a: b")
    }

    @Test("A file that cannot be frozen and a limit are notices: luod is healthy") func notices() {
        let cut = status([session("outgoing", [file("1", problem: "cut")])])
        #expect(StatusVerdict(cut).isHealthy)
        #expect(lines(cut).first == "healthy")
        #expect(lines(cut).last?.contains("1 file cannot be frozen") == true)
        let leftOut = status([session("incoming", [file("1", problem: "cut")])])
        #expect(lines(leftOut) == ["healthy"], "it is no obstacle to an update")
        let over = status(memory: [LuodStatus.Memory(user: 7, pageSize: 4096, bytes: 9, limit: 8)])
        #expect(StatusVerdict(over).isHealthy && lines(over).last?.contains("user 7 is over the limit") == true)
    }

    @Test("A ready image that has ended is a notice") func endedImage() {
        var ready = LuodStatus.Ready(image: "/a b", version: "1.0", process: 8, since: 0)
        #expect(lines(status(ready: ready)) == ["healthy"])
        ready.failure = "why"
        #expect(
            lines(status(ready: ready)).last
                == "notice: the image that luoctl load made ready (/a b version 1.0) has ended: why: luoctl load '/a b' "
                + "starts it again")
        (ready.image, ready.version) = ("", nil)
        #expect(
            lines(status(ready: ready)).last?.hasSuffix(
                "(the image that runs) has ended: why: luoctl load starts it again")
                == true)
    }

    @Test("Times and clients in words") func words() {
        #expect(StatusTime.text(1_700_000_000_999_999_999) == "2023-11-14T22:13:20Z")
        #expect(LuodStatus.Client(process: 7, command: "").words == "7")
        #expect(LuodStatus.Client(process: 7, command: "sh\u{1B}").words == #"7 (sh\u{1b})"#)
    }

    @Test("A file of two sessions counts once, and huge pages count by size") func totals() {
        let huge = file("3", size: 4 << 20, allocated: 2 << 20, inode: 2, pageSize: 2 << 20)
        let sums = StatusTotals([
            session("outgoing", [file("1"), huge, file("9", size: nil)]), session("outgoing", [file("2")], name: "b"),
        ])
        #expect(sums.sessions == 2 && sums.files == 2 && sums.lost == 1)
        #expect(sums.allocated == 2 << 20 + 4096 && sums.apparent == 4 << 20 + 8192)
        #expect(sums.huge == [StatusTotals.HugePages(pageSize: 2 << 20, pages: 1)])
        #expect(sums.text == "2 sessions, 2 files, 2.0 MiB allocated of 4.0 MiB, 1 page of 2 MiB, 1 file lost")
    }

    @Test("Sums of sizes that no machine has do not trap") func overflow() {
        let file = file("1", size: .max, allocated: .max, pageSize: 1)
        var other = file
        other.inode = 2
        #expect(StatusTotals([session("outgoing", [file, other])]).allocated == .max)
    }
}
