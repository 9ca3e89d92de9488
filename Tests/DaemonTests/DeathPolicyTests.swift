// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage
import Testing

@testable import LiveUpdateDaemon

/// Requests that end orchestrators, and processes that do not answer.
@Suite struct DeathPolicyTests {
    private let key = RequestKey(slot: 7, digest: 1)

    // MARK: Causes

    @Test(
        "Signals of a fault and exit codes are faults, SIGKILL is not, and an administrator's signal does not count",
        arguments: [
            (4, .fault), (5, .fault), (6, .fault), (7, .fault), (11, .fault), (25, .fault), (31, .fault), (9, .kill),
            (1, .request), (2, .request), (15, .request),
        ] as [(Int32, RequestDeaths.Cause)])
    func causes(signal: Int32, cause: RequestDeaths.Cause) {
        #expect(RequestDeaths.Cause(signal: signal, code: 0) == cause)
        #expect(RequestDeaths.Cause(signal: nil, code: 1) == .fault)
        #expect(RequestDeaths.Cause(signal: nil, code: 0) == .request)
    }

    // MARK: Requests

    @Test(
        "A request is not repeated after two faults, or five SIGKILLs, or a mixture",
        arguments: [
            ([.fault, .fault], 2), ([.kill, .kill, .kill, .kill, .kill], 5), ([.fault, .kill, .kill, .kill], 4),
            ([.request, .fault, .request, .fault], 4),
        ] as [([RequestDeaths.Cause], Int)])
    func requests(causes: [RequestDeaths.Cause], enough: Int) {
        var deaths = RequestDeaths()
        for (index, cause) in causes.enumerated() {
            #expect(deaths.endedTooMany(key) == nil && !deaths.hasEndedTooMany, "before death \(index + 1)")
            deaths.note([(key, 1000)], cause, at: 1000)
        }
        #expect(causes.count == enough && deaths.hasEndedTooMany)
        #expect(deaths.endedTooMany(key) == UInt32(causes.count { $0 != .request }))
        for other in [RequestKey(slot: 8, digest: 1), RequestKey(slot: 7, digest: 2)] {
            #expect(deaths.endedTooMany(other) == nil, "another connection, and another request")
        }
    }

    @Test("Requests that ran at the same time count each; old ones are forgotten first") func several() {
        var deaths = RequestDeaths()
        let other = RequestKey(slot: 8, digest: 2)
        for _ in 0..<2 { deaths.note([(key, 1000), (other, 1001)], .fault, at: 1) }
        #expect(deaths.endedTooMany(key) == 2 && deaths.endedTooMany(other) == 2)
        for slot in 0..<Int64(RequestDeaths.most) {
            deaths.note([(RequestKey(slot: 100 + slot, digest: 0), 5)], .fault, at: 1)
        }
        #expect(deaths.endedTooMany(key) == nil)
    }

    // MARK: Users

    @Test("A user is not served for a minute after four faults, and then counts from the beginning") func users() {
        var deaths = RequestDeaths()
        func dies(at now: UInt64, _ user: UInt32 = 1000) {
            deaths.note([(RequestKey(slot: Int64(now), digest: now), user)], .fault, at: now)
        }
        for now: UInt64 in 1...3 { dies(at: now) }
        #expect(!deaths.mustPause(1000, at: 3))
        dies(at: 4)
        #expect(
            deaths.mustPause(1000, at: 4) && deaths.mustPause(1000, at: 60_003) && !deaths.mustPause(1000, at: 60_004))
        #expect(deaths.pausing(at: 4) == [1000] && !deaths.mustPause(1001, at: 4))
        for now: UInt64 in 70_000...70_002 { dies(at: now) }
        #expect(!deaths.mustPause(1000, at: 70_002))
        dies(at: 70_003)
        #expect(deaths.mustPause(1000, at: 70_003))
    }

    @Test("Root is always served; SIGKILL and deaths far apart count less") func exceptions() {
        var deaths = RequestDeaths()
        for now: UInt64 in 0..<20 { deaths.note([(key, 0)], .fault, at: now) }
        #expect(!deaths.mustPause(0, at: 19))
        for now: UInt64 in 1...9 { deaths.note([(key, 5)], .kill, at: now) }
        #expect(!deaths.mustPause(5, at: 9))
        deaths.note([(key, 5)], .kill, at: 10)
        #expect(deaths.mustPause(5, at: 10))
        for day: UInt64 in 1...20 { deaths.note([(key, 6)], .fault, at: day * 86_400_000) }
        #expect(!deaths.mustPause(6, at: 20 * 86_400_000))
    }

    // MARK: Memory

    @Test("Deaths are read back from memory, and other bytes are no deaths") func bytes() throws {
        var deaths = RequestDeaths()
        for user in 0..<UInt32(100) {
            deaths.note([(RequestKey(slot: Int64(user), digest: .max), user)], .fault, at: UInt64(user))
        }
        let bytes = deaths.bytes
        #expect(RequestDeaths(bytes) == deaths)
        for length in 0..<bytes.count { #expect(RequestDeaths([UInt8](bytes.prefix(length))) == nil) }
        #expect(RequestDeaths([UInt8](repeating: 255, count: 4096)) == nil)
        #expect(RequestDeaths([UInt8](repeating: 0, count: 8)) == RequestDeaths())
    }

    @Test("The memory holds the running request and the deaths for the next process") func memory() throws {
        let file = try ControlMemory.make()
        let orchestrator = try ControlMemory(file.borrowed)
        let keeper = try ControlMemory(file.borrowed)
        #expect(keeper.takeRequests().isEmpty && keeper.deaths == RequestDeaths())
        orchestrator.begin(key)
        orchestrator.begin(RequestKey(slot: 8, digest: 3), place: 15)
        #expect(keeper.takeRequests() == [key, RequestKey(slot: 8, digest: 3)])
        #expect(keeper.takeRequests().isEmpty, "they are taken once")
        orchestrator.begin(key)
        orchestrator.end()
        #expect(keeper.takeRequests().isEmpty)
        var deaths = RequestDeaths()
        for user in 0..<UInt32(200) {
            deaths.note([(RequestKey(slot: Int64(user), digest: 1), user)], .fault, at: 1)
        }
        keeper.deaths = deaths
        #expect(orchestrator.deaths == deaths, "also when all counts are in use")
        keeper.tick(.keeper)
        #expect(orchestrator.ticks(.keeper) == 1 && orchestrator.ticks(.orchestrator) == 0)
        let short = try makeMemoryFile(named: "short", size: 4096)
        #expect(throws: SystemCallError("mmap", .invalidArgument)) { try ControlMemory(short.borrowed) }
    }

    @Test("A key tells requests apart by connection, struct and tag, also when they are long") func keys() {
        let long = [UInt8](repeating: 1, count: 4164)
        var other = long
        other[4163] = 2
        #expect(RequestKey(slot: 1, long) == RequestKey(slot: 1, long))
        #expect(RequestKey(slot: 1, long) != RequestKey(slot: 2, long))
        #expect(RequestKey(slot: 1, long) != RequestKey(slot: 1, other), "the tag is at the end")
        #expect(RequestKey(slot: 1, [1, 2]) != RequestKey(slot: 1, [2, 1]))
        #expect(RequestKey(slot: 1, []) != RequestKey(slot: 1, [0]))
    }

    // MARK: Starts

    @Test(
        "A state is refused after two faults or five SIGKILLs at the start; a start that serves ends the row",
        arguments: [([.fault], 2), ([.kill], 5), ([.request], nil), ([.fault, .kill], 3)]
            as [([RequestDeaths.Cause], Int?)])
    func starts(causes: [RequestDeaths.Cause], enough: Int?) {
        var policy = StartPolicy()
        func dies(_ count: Int) -> [Bool] { (0..<count).map { policy.noteDeath(causes[$0 % causes.count]) } }
        let verdicts = dies(8)
        #expect(verdicts.firstIndex(of: true) == enough.map { $0 - 1 })
        policy.noteBegin()
        #expect(policy.deaths == 0 && !policy.noteDeath(.fault), "it died while it served")
        #expect(dies(8) == verdicts)
    }

    @Test("A refusal lasts, unless its reason is a shortage") func refusals() {
        let damage = Refusal(StartFailure(.data, "/state/arena: version"), at: 5)
        #expect(!damage.isOver(at: .max) && damage.error.errno == .ioError)
        #expect(
            damage.error.description.contains("/state/arena: version") && damage.error.description.contains("reload"))
        let shortage = Refusal(StartFailure(.unavailable, "no memory"), at: 5)
        #expect(!shortage.isOver(at: 5) && !shortage.isOver(at: 10_004) && shortage.isOver(at: 10_005))
    }

    // MARK: Silence

    @Test("A process is named after eight checks, and ended when the patience is over") func silence() {
        var policy = HangPolicy(patience: 30_000)
        #expect(policy.look(5) == .nothing)
        let verdicts = (0..<130).map { _ in policy.look(5) }
        #expect(verdicts.enumerated().filter { $0.element != .nothing }.map(\.offset) == [7, 119])
        #expect(verdicts[7] == .silent && verdicts[119] == .end && policy.isSilent)
    }

    @Test("A process that stops answering again is named again, and any other count is an answer") func answers() {
        var policy = HangPolicy(patience: 30_000)
        for _ in 0..<9 { _ = policy.look(5) }
        #expect(policy.isSilent)
        #expect(policy.look(4) == .answers && !policy.isSilent)
        #expect((0..<100).map { policy.look(UInt64($0)) }.allSatisfy { $0 == .nothing })
        for _ in 0..<7 { #expect(policy.look(99) == .nothing) }
        #expect(policy.look(99) == .silent)
        policy.beginAgain()
        #expect(!policy.isSilent && policy.look(99) == .nothing)
    }

    @Test("If the patience is short, a process is ended without being named") func shortPatience() {
        for (patience, looks) in [(0, 1), (250, 1), (1000, 4), (2000, 8)] as [(UInt64, Int)] {
            var policy = HangPolicy(patience: patience)
            _ = policy.look(1)
            #expect((0..<looks).map { _ in policy.look(1) }.last == .end)
        }
    }
}
