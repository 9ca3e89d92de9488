// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

@testable import LiveUpdateDaemon

/// Decisions of the keeper that need no process.
@Suite struct PolicyTests {
    // MARK: Restarts

    @Test("Each death in a row raises the pause, up to a bound; a process that has run for a second ends the row")
    func restarts() {
        var policy = RestartPolicy()
        var now: UInt64 = 50_000
        var pauses: [UInt64] = []
        func dies(after life: UInt64) {
            now += life
            let pause = policy.pause(afterDeathAt: now)
            pauses.append(pause)
            now += pause
        }
        for _ in 0..<12 { dies(after: 1) }
        #expect(pauses == [0, 0, 0, 0, 0, 100, 200, 400, 800, 1600, 1600, 1600])
        pauses = []
        dies(after: RestartPolicy.steady - 1)
        #expect(pauses == [1600], "a life of less than a second does not end the row")
        dies(after: RestartPolicy.steady)
        #expect(pauses == [1600, 0])
    }

    @Test("A death in the pause counts as a death in a row") func diesInPause() {
        var policy = RestartPolicy()
        let pauses = (0..<8).map { policy.pause(afterDeathAt: 10_000 + UInt64($0)) }
        #expect(pauses == [0, 0, 0, 0, 0, 100, 200, 400])
    }

    @Test("No number of deaths overflows, even in the first second of the clock") func manyDeaths() {
        var policy = RestartPolicy()
        for _ in 0..<1000 { #expect(policy.pause(afterDeathAt: 0) <= RestartPolicy.longest) }
    }

    // MARK: Ending

    private typealias Session = EndReport.Session
    private typealias File = EndReport.File
    private let attached = Session(
        name: "a", user: 1000, staysWithoutHolder: false,
        files: [File(bytes: 100 << 20, hasName: false), File(bytes: 2 << 20, hasName: true)])
    private let detached = Session(
        name: "d", user: 0, staysWithoutHolder: true,
        files: [File(bytes: 1, hasName: false), File(bytes: 4 << 20, hasName: true)])

    @Test(
        "Without a store memory files and attached sessions are lost; named files survive in a detached session")
    func alone() {
        let report = EndReport([attached, detached], .arena("/state/arena"))
        #expect(report.lost.sessions == 1 && report.lost.files == 3 && report.lost.bytes == 102 << 20 + 1)
        #expect(report.surviving.sessions == 1 && report.surviving.files == 1 && report.surviving.bytes == 4 << 20)
        #expect(report.losesSomething)
        #expect(
            report.lines == [
                "1 session, 3 files, 106954753 bytes end with luod; a file stays only in programs that have it open:",
                "session \"a\" of user 1000: 2 files, 106954752 bytes",
                "session \"d\" of user 0 stays with 1 file, and loses 1 file, 1 byte",
                "1 session, 1 file, 4194304 bytes survive in the arena /state/arena, and by their names: "
                    + "the next luod finds them",
            ])
    }

    @Test("A descriptor store keeps everything") func stored() {
        let report = EndReport([attached, detached], .descriptorStore)
        #expect(!report.losesSomething && report.surviving.sessions == 2 && report.surviving.files == 4)
        #expect(report.lines.count == 1 && report.lines[0].contains("descriptor store"))
    }

    @Test("No descriptor store has a file of a file system that may not answer") func notStorable() {
        let files = [
            File(bytes: 0, hasName: false, isStorable: false), File(bytes: 2 << 20, hasName: true, isStorable: false),
        ]
        let session = Session(name: "f", user: 5, staysWithoutHolder: false, files: files)
        let report = EndReport([session], .descriptorStore)
        #expect(report.lost.sessions == 0 && report.lost.files == 1 && report.surviving.files == 1)
    }

    @Test("Nothing survives when the state is removed") func removed() {
        let report = EndReport([detached], .nothing)
        #expect(report.lost.sessions == 1 && report.lost.files == 2 && report.surviving == EndReport.Count())
        #expect(report.lines.count == 2)
    }

    @Test("Without a session there is no report, and sizes that a client has invented do not overflow") func odd() {
        #expect(EndReport([], .arena("/arena")).lines.isEmpty)
        let huge = Session(
            name: "h", user: 0, staysWithoutHolder: false,
            files: [File(bytes: .max, hasName: false), File(bytes: 1, hasName: false)])
        #expect(EndReport([huge, huge], .nothing).lost.bytes == .max)
    }

    @Test("Each lost token is named, in as many lines as necessary") func lostTokens() {
        #expect(StartLosses.texts([]).isEmpty && StartLosses.texts([7]) == ["the file of token 7"])
        #expect(StartLosses.texts([9, 2, 4, 3]) == ["the files of tokens 2 to 4, 9"])
        #expect(StartLosses.texts([.max, .max - 1]) == ["the files of tokens \(UInt64.max - 1) to \(UInt64.max)"])
        let odd = (0..<1001).map { UInt64($0 * 2) }
        let texts = StartLosses.texts(odd)
        #expect(texts.count == 11 && texts.allSatisfy { $0.utf8.count < 1000 })
        #expect(texts.last == "the file of token 2000")
        let words = Set(texts.joined(separator: ", ").split { ", ".contains($0) }.compactMap { UInt64($0) })
        #expect(words == Set(odd))
    }

    // MARK: Starting

    @Test("Each cause of a failed start has its exit code, and its message names the path") func failures() {
        let state = StateDirectory("/state")
        func code(_ error: any Error) -> CInt {
            let failure = StartFailure(error, on: state)
            #expect(failure.description.contains("/state"), "\(failure)")
            #expect(StartFailure(failure, on: StateDirectory("/other")) == failure, "it is not changed again")
            return failure.cause.rawValue
        }
        for gate in [ArenaError.Gate.size, .magic, .version, .checksum, .journal, .tree, .record] {
            #expect(code(ArenaError(gate, "why")) == 65)
        }
        #expect(code(ArenaError(.space, "why", errno: .noSpace)) == 69)
        #expect(code(ArenaError(.space, "why", errno: .fileTooLarge)) == 69)
        #expect(code(ArenaError(.size, "why", errno: .noMemory)) == 69)
        #expect(code(ArenaError(.owner, "why", errno: .resourceTemporarilyUnavailable)) == 69)
        #expect(code(LiveUpdateError(.ioError, "what is in the arena cannot be read")) == 65)
        #expect(code(LiveUpdateError(.noSpace, "why")) == 69)
        #expect(code(LiveUpdateError(.notPermitted, "/state: another user's")) == 77)
        #expect(code(SystemCallError("open", .permissionDenied)) == 77)
        #expect(code(SystemCallError("posix_spawn", .resourceTemporarilyUnavailable)) == 69)
        #expect(code(SystemCallError("open", .noSuchFileOrDirectory)) == 1)
        #expect(code(StateHeld(why: "/state/arena is in use")) == 69)
    }

    @Test("A shortage is distinguished from a peer that has gone or does not read") func shortages() {
        for errno in [
            Errno.tooManyReferences, .noBufferSpace, .noMemory, .tooManyOpenFiles, .tooManyOpenFilesInSystem,
        ] {
            #expect(SystemCallError("sendmsg", errno).isShortage)
        }
        for errno in [Errno.brokenPipe, .connectionReset, .resourceTemporarilyUnavailable, .badFileDescriptor] {
            #expect(!SystemCallError("sendmsg", errno).isShortage)
        }
    }

    // MARK: Numbers and names

    @Test(
        "Sizes: digits, and a unit",
        arguments: [
            ("0", 0), ("4096", 4096), ("64K", 64 << 10), ("1M", 1 << 20), ("3G", 3 << 30), ("2T", 2 << 40),
            ("18446744073709551615", UInt64.max),
        ] as [(String, UInt64)])
    func sizes(text: String, bytes: UInt64) { #expect(ByteCount(text)?.bytes == bytes) }

    @Test(
        "Other text is not a size",
        arguments: [
            "", "K", "1k", "1KK", "-1", "+1", "1.5G", " 1", "18446744073709551616", "18446744073709551615K",
            "16777216T", "٣",
        ])
    func noSizes(text: String) { #expect(ByteCount(text) == nil) }

    @Test("Accounts are found by their exact name only") func groups() {
        let file = AccountFile("root:x:0:\nluo:x:990:alice,bob\nbad:x:many:\nshort:x\n:x:7:\n# luo2:x:1:\n")
        #expect(file.number(of: "root") == 0 && file.number(of: "luo") == 990)
        for name in ["alice", "bad", "short", "luo2", "x", "LUO", ""] { #expect(file.number(of: name) == nil) }
    }

    @Test("Names in a descriptor store are read back, and no number in them overflows") func storedNames() {
        let held = HeldSlot(slot: .init(7), kind: .session, label: DescriptorLabel(cookie: 8, user: 1000, boot: 3))
        #expect(HeldSlot(storedName: held.storedName) == held)
        let parts = held.storedName.split(separator: "-").map(String.init)
        for slot in ["0", "-1", "\(Int64.max)", "99999999999999999999"] {
            var name = parts
            name[2] = slot
            #expect(HeldSlot(storedName: name.joined(separator: "-")) == nil)
        }
    }

    // MARK: Memory for calls

    @Test("The table of a gate allocates space before it uses it, and reports an error without space", .requiresRoot)
    func callsOnFullFileSystem() throws {
        let small = try SmallFileSystem(size: 128 << 10)
        let memory = try small.makeFile()
        try CallTable.reserve(memory.borrowed)
        let ballast = try small.fill()
        // From here on the memory belongs to the table, which never closes it.
        let table = try CallTable(try memory.borrowed.duplicated().release())
        var places: [CallPlace] = []
        while let place = table.take() {
            place.tag = 1
            places.append(place)
        }
        #expect(places.count > 100, "those that have space")
        try ballast.drop()
        #expect(table.take() != nil, "with room there are more")

        let full = try SmallFileSystem(size: 64 << 10)
        let other = try full.makeFile()
        let rest = try full.fill(leaving: 4096)
        #expect(throws: SystemCallError("fallocate", .noSpace)) { try CallTable.reserve(other.borrowed) }
        withExtendedLifetime(rest) {}
    }
}
