import Glibc
import LiveUpdateDevice
import LiveUpdateProtocol
import Platform
import SystemPackage
import TestSupport
import Testing

/// Two users and root at one daemon: what is one's is not there for the other.
@Suite(.requiresRoot) struct UserTests {
    private let daemon: RunningDaemon

    init() async throws { daemon = try await RunningDaemon() }

    @Test("Nobody sees, retrieves, finishes, attaches or takes what is another's; root does") func isolation() throws {
        let (mine, other, root) = (
            try daemon.connect(as: nobody), try daemon.connect(as: nobody - 1), try daemon.connect()
        )
        let file = try MemoryFile(bytes: [1, 2, 3])
        let session = try mine.create("s")
        try session.preserve(file, 1)
        try session.setDetached(true)
        session.close()
        for who in [other, try daemon.connect(as: nobody - 1)] {
            #expect(try who.status().sessions.isEmpty)
            for direction in [AttachedDirection.any, .outgoing, .incoming] {
                #expect(try refusal { try who.attach("s", direction) } == .noSuchFileOrDirectory)
            }
            #expect(try refusal { try who.retrieveSession("s") } == .noSuchFileOrDirectory)
        }
        // A name of one's own, and a file that is held is held for all.
        let others = try other.create("s")
        #expect(try refusal { try others.preserve(file, 1) } == .resourceBusy)
        #expect(try other.status().sessions.map(\.owner) == [nobody - 1])
        #expect(try mine.status().sessions.map(\.owner) == [nobody])
        #expect(try root.status().sessions.map(\.owner) == [nobody, nobody - 1])

        #expect(try root.change(.update) == nil)
        #expect(try other.status().sessions.map(\.owner) == [nobody - 1])
        let came = try other.retrieveSession("s")
        #expect(try refusal { try came.retrieve(1) } == .noSuchFileOrDirectory)
        #expect(try refusal { try other.attach("s", .incoming) } == .resourceBusy, "its own, which is not detached")
        try came.finish()
        came.close()
        #expect(try refusal { try other.retrieveSession("s") } == .noSuchFileOrDirectory)

        let own = try mine.retrieveSession("s")
        #expect(try own.retrieve(1).identity == file.identity)
        own.close()
        let roots = try root.attach("s")
        #expect(try roots.retrieve(1).bytes() == [1, 2, 3])
        #expect(try refusal { try mine.attach("s") } == .resourceBusy, "root has it")
        try roots.finish()
        try roots.setDetached(false)
        roots.close()
        #expect(try mine.status().sessions.isEmpty)
    }

    @Test("Root retrieves anybody's, and has its own first") func rootsOwn() throws {
        let (mine, root) = (try daemon.connect(as: nobody), try daemon.connect())
        let (file, roots) = (try MemoryFile(), try MemoryFile())
        try mine.create("s").preserve(file, 1)
        #expect(try root.status().sessions.isEmpty, "its last descriptor is closed")
        let session = try mine.create("s")
        try session.preserve(file, 1)
        let other = try root.create("s")
        try other.preserve(roots, 1)
        #expect(try root.change(.update) == nil)
        let first = try root.retrieveSession("s")
        #expect(try first.retrieve(1).identity == roots.identity)
        #expect(try refusal { try root.retrieveSession("s") } == .invalidArgument, "its own is open")
        first.close()
        #expect(try root.retrieveSession("s").retrieve(1).identity == file.identity)
    }

    @Test("Only root loads, updates and reloads", arguments: [Call.load, .update, .reload])
    func privileged(call: Call) throws {
        let mine = try daemon.connect(as: nobody)
        #expect(try mine.change(call)?.errno == .notPermitted)
        #expect(try daemon.connect().status().updates == 0)
    }

    @Test("Not the program that asks counts, but who connected") func inherited() throws {
        let mine = try daemon.connect(as: nobody)
        // This thread is root again.
        let session = try mine.create("s")
        defer { session.close() }
        #expect(try daemon.connect().status().sessions.map(\.owner) == [nobody])
    }
}
