// SPDX-License-Identifier: Apache-2.0
import LiveUpdateDeviceTree
import LiveUpdateHandover
import LiveUpdatePlatform
import TestSupport
import Testing

@testable import LiveUpdateCore

/// The making of a session, and the client that opened it: in the state, in the journal and in the tree.
@Suite struct MakerTests {
    private static let shell = SessionClient(process: 7, command: [UInt8]("sh".utf8))
    private static let other = SessionClient(process: 8, command: [UInt8]("a\u{1B}".utf8))
    private static let maker = SessionMaker(time: 5, client: shell)

    private let machine: Machine

    init() throws { machine = try Machine(Specimen.options) }

    private func session(_ boot: Orchestrator) throws -> Status.Session {
        try #require(try boot.status().sessions.first)
    }

    @Test("The making stays over a crash and an update; each client that opens the session takes the place of the last")
    func life() throws {
        var boot = try machine.boot(.nextBoot, TestHandler())
        var session = try boot.createSession("s", holder: SessionHolder(user: 7, isDetached: true), by: Self.maker)
        _ = try boot.createSession("unknown")
        #expect(session.client == Self.shell)
        try session.attach(to: Self.other, by: SessionHolder(user: 7, slot: DescriptorSlot(9), isDetached: true))
        try session.hold(by: SessionHolder(user: 7, isDetached: true))
        #expect(session.client == Self.other, "a detach does not change the client")
        boot = try machine.boot(.sameBoot, TestHandler())
        #expect(try self.session(boot).maker == Self.maker && self.session(boot).client == Self.other)
        try boot.publish()
        boot = try machine.boot(.nextBoot, TestHandler())
        let sessions = try boot.status().sessions
        #expect(sessions.map(\.maker) == [Self.maker, nil])
        session = try boot.retrieveSession("s", holder: SessionHolder(user: 7), for: nil)
        #expect(session.client == nil)
        boot = try machine.boot(.sameBoot, TestHandler())
        #expect(try self.session(boot).maker == Self.maker && self.session(boot).client == nil)
    }

    @Test("A command is at most 15 bytes without a NUL, and is shown without characters that a terminal obeys")
    func commands() {
        #expect(SessionClient(process: 1, command: [UInt8](repeating: 65, count: 20)).command.count == 15)
        #expect(SessionClient(process: 1, command: [65, 0, 66]).command == [65])
        #expect(Self.other.commandText == #"a\x1b"#)
    }

    // MARK: The tree

    private static func tree(_ makers: [SessionMaker?], user: SessionUser = 0) -> LuoTree {
        LuoTree(
            updateNumber: 1, freeze: FreezeTime(start: 1, end: 2), journalRoom: Extent(offset: 0, length: 0),
            sessions: makers.enumerated().map { index, maker in
                LuoTree.Session(name: "s\(index)", user: user, maker: maker, files: [])
            }, flbs: [], discarded: [])
    }

    /// Writes a tree into an arena, with a change of its bytes.
    private func written(_ tree: LuoTree, _ change: (inout [UInt8]) -> Void = { _ in }) throws -> LuoTreeReader {
        let arena = try Arena.make()
        try arena.takeOver([], inUse: [])
        var tree = tree
        tree.journalRoom = try arena.allocate(4096)
        let writer = LuoTreeWriter(tree: tree, inUse: [tree.journalRoom])
        let range = try arena.allocate(writer.length)
        var bytes = try writer.bytes(at: range.offset)
        #expect(UInt64(bytes.count) == writer.length)
        change(&bytes)
        arena.write(bytes, at: range.offset)
        return LuoTreeReader(arena: arena, range: range)
    }

    @Test("The node is there only where the making of a session is known", arguments: [0, 7] as [SessionUser])
    func node(user: SessionUser) throws {
        for makers in [[Self.maker, nil, SessionMaker(time: .max, client: nil)], [nil], []] as [[SessionMaker?]] {
            let tree = Self.tree(makers, user: user)
            let reader = try written(tree)
            #expect(try reader.read().sessions == tree.sessions)
            let root = try reader.flattenedTree(at: reader.range.offset)
            #expect((root.child("luo-maker") != nil) == makers.contains { $0 != nil })
        }
    }

    @Test("u64 time, s32 process, char command[16], u32 zero") func layout() throws {
        var writer = ByteWriter(capacity: 32)
        MakerRecord(maker: SessionMaker(time: 0x0102, client: Self.shell)).encode(into: &writer)
        #expect(
            writer.bytes == [
                2, 1, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0x73, 0x68, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            ])
    }

    @Test("A reader ignores a node that it does not know, as one without the makers ignores them") func unknownNode()
        throws
    {
        let tree = Self.tree([Self.maker])
        let reader = try written(tree) { bytes in
            // Another name of the same length in the root.
            let name = [UInt8]("luo-maker".utf8)
            let place = bytes.indices.first { bytes[$0...].starts(with: name) }
            bytes.replaceSubrange(place!..<place! + name.count, with: "luo-mixed".utf8)
        }
        let read = try reader.read()
        #expect(read.sessions.map(\.name) == tree.sessions.map(\.name) && read.sessions[0].maker == nil)
    }

    @Test("Damage is refused") func damage() throws {
        let reader = try written(Self.tree([Self.maker])) { bytes in
            let record = bytes.indices.first { bytes[$0...].starts(with: [5, 0, 0, 0, 0, 0, 0, 0, 7]) }
            bytes[record! + 11] = 0x80
        }
        #expect(throws: ArenaError.self) { try reader.read() }
    }
}
