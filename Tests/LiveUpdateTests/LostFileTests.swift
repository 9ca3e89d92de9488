// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// All processes have died, and their descriptors with them. A file that its handler can open again is held again, and
/// the other files are reported as lost.
@Suite struct LostFileTests {
    private let machine: Machine
    private let file: MemoryFile

    init() throws {
        machine = try Machine()
        file = try MemoryFile()
    }

    /// A handler that can open its files again. The files can be missing for a while.
    private func handler(_ isMissing: Guarded<Bool> = Guarded(false)) -> TestHandler {
        let place = file.descriptor
        return TestHandler { hooks in
            hooks.preserve = { file throws(LiveUpdateError) in try file.storage.store([1, 2, 3]) }
            hooks.reopen = { file throws(LiveUpdateError) in
                if isMissing.with({ $0 }) {
                    throw LiveUpdateError(.staleNFSFileHandle, "it is not there", remedy: "look")
                }
                #expect(file.descriptor == nil)
                do throws(SystemCallError) {
                    return try place.reopenedForReading().release()
                } catch {
                    throw LiveUpdateError(error, "opening it anew")
                }
            }
        }
    }

    private func preserved() throws {
        try machine.boot(.nextBoot, handler(), TestFLB()).createSession("s").preserve(file.descriptor, token: 1)
    }

    private func handedOver() throws {
        let boot = try machine.boot(.nextBoot, handler(), TestFLB())
        try boot.createSession("s").preserve(file.descriptor, token: 1)
        try boot.publish()
    }

    private func expectIt(_ owned: consuming OwnedDescriptor) throws {
        #expect(try FileStatus(of: owned.borrowed).identity == file.identity)
    }

    // MARK: Outgoing files

    @Test func itIsThereAgainBeforeAnybodyAsks() throws {
        try preserved()
        let (after, handler) = (Machine(survivorOf: machine), handler())
        let boot = try after.boot(.nextBoot, handler, TestFLB())
        #expect(handler.calls == ["reopen 1"])
        #expect(after.descriptors.held.count == 1)
        #expect(try boot.status().flbs.map(\.count) == [1])
        let session = try #require(try boot.openSessions.first)
        try expectIt(try session.getAndUnpreserve(token: 1))
        #expect(handler.calls == ["reopen 1", "unpreserve 1"])
        #expect(after.descriptors.held.isEmpty)
    }

    @Test("A file survives a second death, and a third") func againAndAgain() throws {
        try preserved()
        var last = machine
        for _ in 0..<3 {
            last = Machine(survivorOf: last)
            _ = try last.boot(.nextBoot, handler(), TestFLB())
            #expect(last.descriptors.held.count == 1)
        }
        let boot = try Machine(survivorOf: last).boot(.nextBoot, handler(), TestFLB())
        try boot.publish()
    }

    @Test("After a crash that the descriptors survive no file is opened again") func heldByOthers() throws {
        try preserved()
        let handler = handler()
        _ = try machine.boot(.sameBoot, handler, TestFLB())
        #expect(handler.calls.isEmpty)
    }

    @Test("A get of a lost file fails with the handler's reason, changes nothing, and can be repeated")
    func getWhileItIsMissing() throws {
        try preserved()
        let isMissing = Guarded(true)
        let (after, handler) = (Machine(survivorOf: machine), handler(isMissing))
        let boot = try after.boot(.nextBoot, handler, TestFLB())
        let session = try #require(try boot.openSessions.first)
        for _ in 0..<2 {
            let taken = failure { try session.get(token: 1) }
            #expect(taken == LiveUpdateError(.staleNFSFileHandle, "it is not there", remedy: "look"))
            #expect(session.tokens == [1])
        }
        #expect(handler.count("unpreserve") == 0)
        #expect(handler.count("freeze") == 0)
        isMissing.with { $0 = false }
        try boot.publish()
        #expect(after.descriptors.held.count == 1)
        let next = try after.boot(.nextBoot, handler, TestFLB())
        try expectIt(try next.retrieveSession("s").retrieve(token: 1))
    }

    @Test("A file of a handler that cannot open it again gives EBADF, until it is unpreserved") func gone() throws {
        try preserved()
        let handler = TestHandler()
        let boot = try Machine(survivorOf: machine).boot(.nextBoot, handler, TestFLB())
        let session = try #require(try boot.openSessions.first)
        let error = failure { try session.get(token: 1) }
        #expect(error?.errno == .badFileDescriptor)
        #expect(error?.reason == "file 1 of session \"s\" was lost with the last process that held it")
        #expect(error?.remedy != nil)
        #expect(session.tokens == [1])
        try session.unpreserve(token: 1)
        try session.preserve(file.descriptor, token: 1)
        try boot.publish()
    }

    // MARK: Under another kernel

    @Test(
        "Files that stay over a kernel are looked for at the start, and the reason of a failure names them",
        arguments: [
            (KernelFate.stays, false, 1, 0), (.stays, true, 0, 1), (.needsLiveUpdate, true, 0, 1), (.ends, true, 0, 1),
        ])
    func findLost(_ fate: KernelFate, isMissing: Bool, held: Int, lost: Int) throws {
        try handedOver()
        let place = file.descriptor
        let handler = TestHandler(kernelFate: fate) { hooks in
            hooks.reopen = { file throws(LiveUpdateError) in
                if isMissing { throw LiveUpdateError(.noSuchFileOrDirectory, "token 1: it is gone", remedy: "look") }
                do throws(SystemCallError) {
                    return try place.reopenedForReading().release()
                } catch {
                    throw LiveUpdateError(error, "opening it again")
                }
            }
        }
        let after = Machine(survivorOf: machine)
        let boot = try after.boot(.nextBoot, handler, TestFLB())
        let found = try boot.findLostFiles()
        #expect(found.held == held && found.lost == lost)
        #expect(
            found.reasons
                == (fate == .stays && isMissing ? ["user 0, session \"s\", token 1: it is gone; look"] : []))
        #expect(handler.count("reopen") == (fate == .stays ? 1 : 0))
    }

    // MARK: Lost files in an update

    @Test(
        "A lost file stops no update: it is not frozen, travels as lost, and the next boot says so",
        arguments: [false, true])
    func travelsAsLost(isDrafted: Bool) throws {
        try preserved()
        let other = try MemoryFile()
        let handler = TestHandler()
        let after = Machine(survivorOf: machine)
        let boot = try after.boot(.nextBoot, handler, TestFLB())
        try boot.createSession("t").preserve(other.descriptor, token: 2)
        let lost = LostFile(user: 0, session: "s", direction: .outgoing, token: 1, compatible: "test-v1")
        #expect(try boot.lostFiles() == [lost])
        #expect(try boot.obstacles().isEmpty)
        handler.clear()
        if isDrafted { _ = try boot.draft() }
        #expect(
            try Set(boot.publish(leavingOut: false)) == after.descriptors.held, "a lost file has no slot to hand over")
        let looks = ["freezeCheck 2", "freezeObstacle 2"]
        #expect(handler.calls.filter { !looks.contains($0) } == ["reopen 1", "freeze 2"])
        try boot.thaw()
        #expect(handler.calls.suffix(1) == ["unfreeze 2"], "what was not frozen is not unfrozen")
        try boot.publish()

        let next = try after.boot(.nextBoot, handler, TestFLB())
        #expect(try next.status().flbs.map(\.count) == [2])
        #expect(
            try next.lostFiles()
                == [LostFile(user: 0, session: "s", direction: .incoming, token: 1, compatible: "test-v1")])
        let session = try next.retrieveSession("s")
        for _ in 0..<2 { #expect(errno { try session.retrieve(token: 1) } == .badFileDescriptor) }
        #expect(errno { try session.retrieveAsHeld(token: 1) } == .badFileDescriptor)
        try session.finish()
        #expect(try next.status().flbs.map(\.count) == [1])
    }

    @Test("A lost file with a failing reopen stops no update either, and a file that is found again travels")
    func reopenFails() throws {
        try preserved()
        let isMissing = Guarded(true)
        let (after, handler) = (Machine(survivorOf: machine), handler(isMissing))
        let boot = try after.boot(.nextBoot, handler, TestFLB())
        _ = try boot.draft()
        try boot.publish()
        #expect(handler.count("freeze") == 0)
        try boot.thaw()
        isMissing.with { $0 = false }
        _ = try boot.draft()
        try boot.publish()
        #expect(handler.count("freeze") == 1)
        let next = try after.boot(.nextBoot, handler, TestFLB())
        #expect(try next.lostFiles().isEmpty)
        try expectIt(try next.retrieveSession("s").retrieve(token: 1))
    }

    // MARK: Incoming files

    @Test("A file is looked for when it is retrieved, and a failure is not remembered")
    func retrieveWhileItIsMissing() throws {
        try handedOver()
        let isMissing = Guarded(true)
        let (after, handler) = (Machine(survivorOf: machine), handler(isMissing))
        let boot = try after.boot(.nextBoot, handler, TestFLB())
        #expect(handler.calls.isEmpty)
        let session = try boot.retrieveSession("s")
        for _ in 0..<2 { #expect(errno { try session.retrieve(token: 1) } == .staleNFSFileHandle) }
        #expect(try boot.status().sessions[0].files[0].retrieveStatus == .notTried)
        #expect(handler.count("retrieve") == 0)
        isMissing.with { $0 = false }
        for _ in 0..<2 { try expectIt(try session.retrieve(token: 1)) }
        #expect(handler.count("retrieve") == 1)
        try session.finish()
        #expect(after.descriptors.held.isEmpty)
    }

    @Test("A file retrieved before the death is held again, or can be retrieved again", arguments: [false, true])
    func retrievedBefore(isMissing: Bool) throws {
        try handedOver()
        let next = try machine.boot(.nextBoot, handler(), TestFLB())
        try expectIt(try next.retrieveSession("s").retrieve(token: 1))

        let (after, handler) = (Machine(survivorOf: machine), handler(Guarded(isMissing)))
        let boot = try after.boot(.nextBoot, handler, TestFLB())
        #expect(try boot.status().sessions[0].files[0].retrieveStatus == (isMissing ? .notTried : .done))
        #expect(after.descriptors.held.count == (isMissing ? 0 : 1))
        let session = try #require(try boot.openSessions.first)
        #expect(errno { try expectIt(try session.retrieve(token: 1)) } == (isMissing ? .staleNFSFileHandle : nil))
        #expect(handler.count("retrieve") == 0)
        try session.close()
        #expect(after.descriptors.held.isEmpty)
    }

    @Test("A retrieve that failed stays failed, and no file is opened for it") func failedBefore() throws {
        try handedOver()
        let failing = TestHandler { hooks in
            hooks.retrieve = { _ throws(LiveUpdateError) in throw LiveUpdateError(.ioError, "no") }
        }
        let next = try machine.boot(.nextBoot, failing, TestFLB())
        #expect(errno { try next.retrieveSession("s").retrieve(token: 1) } == .ioError)
        let handler = handler()
        let boot = try Machine(survivorOf: machine).boot(.nextBoot, handler, TestFLB())
        let session = try #require(try boot.openSessions.first)
        #expect(errno { try session.retrieve(token: 1) } == .ioError)
        #expect(handler.calls.isEmpty)
    }

    @Test("No file is looked for with a damaged record") func damaged() throws {
        try preserved()
        let data = try machine.boot(.sameBoot, handler(), TestFLB()).status().sessions[0].files[0].data
        try machine.file.write([9], at: data)
        let (after, handler) = (Machine(survivorOf: machine), handler())
        let boot = try after.boot(.nextBoot, handler, TestFLB())
        let session = try #require(try boot.openSessions.first)
        let error = failure { try session.get(token: 1) }
        #expect(error?.errno == .ioError)
        #expect(error?.reason.contains("records of file 1 at offset \(data) are damaged") == true)
        #expect(handler.count("reopen") == 0)
        try session.unpreserve(token: 1)
    }
}
