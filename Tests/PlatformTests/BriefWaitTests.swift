import Glibc
import Platform
import SystemPackage
import TestSupport
import Testing

@Suite struct BriefWaitTests {
    @Test("What comes meanwhile is found; what does not is given up") func found() {
        var looks = 0
        let isFound = BriefWait.found {
            looks += 1
            return looks == 3
        }
        #expect(isFound == BriefWait.isOfUse)
        #expect(looks == (BriefWait.isOfUse ? 3 : 0), "on one processor nobody else could do anything meanwhile")
        #expect(!BriefWait.found { false })
    }

    @Test func errorsPassThrough() {
        guard BriefWait.isOfUse else { return }
        #expect(throws: SystemCallError.self) {
            try BriefWait.found { () throws(SystemCallError) in throw SystemCallError("poll", .badFileDescriptor) }
        }
    }

    @Test("A poller that expects something finds what is there, and what comes later", arguments: [0, 50_000])
    func poller(delay: UInt32) throws {
        let poller = try Poller()
        let ends = try MessageSocket.pair()
        defer { for end in [ends.0, ends.1] { try? closeDescriptor(end) } }
        try poller.add(ends.0, for: .reading)
        #expect(try poller.wait(0, isExpected: true).isEmpty)
        #expect(try poller.wait(1, isExpected: true).isEmpty)
        try startThread {
            usleep(delay)
            try? ends.1.send([1])
        }
        #expect(try poller.wait(-1, isExpected: true).map(\.descriptor) == [ends.0])
    }
}
