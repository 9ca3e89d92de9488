import LiveUpdate
import Platform
import SystemPackage
import TestSupport
import Testing

@testable import LiveUpdateDaemon

/// What the gate keeps count of.
@Suite struct GateTests {
    private func memory() throws -> FileDescriptor {
        // The table's from then on: it never closes it.
        try makeMemoryFile(named: "calls", size: CallTable.size).release()
    }

    @Test("As many calls of one user wait as may, and leave room for others'; root's are not counted out")
    func waiting()
        throws
    {
        let gate = Gate(try CallTable(try memory()), Settings(state: "/nowhere"), Log("test"))
        for _ in 0..<2048 { #expect(gate.beginWaiting(1000)) }
        #expect(!gate.beginWaiting(1000))
        #expect(gate.beginWaiting(1001))
        gate.endWaiting(1000)
        #expect(gate.beginWaiting(1000))
        #expect(!gate.beginWaiting(1000))
        for _ in 0..<3000 { #expect(gate.beginWaiting(0)) }
    }

    @Test("A copy of the table has what was taken and not answered") func copy() throws {
        let (old, new) = (try memory(), try memory())
        let table = try CallTable(old)
        let places = try (0..<3).map { _ in try #require(table.take()) }
        places[1].tag = 7
        places[1].cookie = 8
        places[1].given = 0
        places[2].result = 0
        try CallTable.copy(old, to: new)
        // What the kernel has written is there as the rest is.
        let copied = try new.bytes(at: 0, count: 4 * 512)
        #expect(try copied == old.bytes(at: 0, count: 4 * 512))
        #expect(copied[0] == 3, "how many were used")
        #expect(copied[1024 + 264] == 7 && copied[1024 + 288] == 8 && copied[1024 + 272] == 1)
    }
}
