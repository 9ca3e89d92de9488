// SPDX-License-Identifier: Apache-2.0
import LiveUpdateHandover
import LiveUpdatePlatform
import TestSupport
import Testing

@testable import LiveUpdateCore

/// Each kind of event is read back from its record, and other records are refused.
@Suite struct EventTests {
    private static let ranges = [
        StoredRange(range: Extent(offset: 4096, length: 64), checksum: 1),
        StoredRange(range: Extent(offset: 8192, length: 4096), checksum: .max),
    ]
    private static let session = SessionState(
        id: SessionID(value: 5), name: "s", direction: .incoming, progress: .finished)
    private static let file = FileState(
        id: FileID(value: 6), session: SessionID(value: 5), token: .max, compatible: "memfd-extents-v1",
        slot: DescriptorSlot(70), identity: FileIdentity(device: 1, inode: 2), data: 3, ranges: ranges,
        flbs: [FLBID(value: 1), FLBID(value: 2)], retrieved: .failed(errno: 5))
    private static let flb = FLBState(
        id: FLBID(value: 7), kind: .discarded, compatible: "hugetlb-v1", data: 9, ranges: ranges, count: 2,
        retrieved: .done)

    static let all: [Event] = [
        .boot(updateNumber: 3, nextID: 17), .phase(.freezing), .phase(.running), .sessionAdded(session),
        .sessionProgress(SessionID(value: 5), .waiting), .sessionRemoved(SessionID(value: 5)), .fileAdded(file),
        .fileStored(FileID(value: 6), data: .max, ranges: ranges), .fileStored(FileID(value: 6), data: 0, ranges: []),
        .fileRetrieved(FileID(value: 6), .done, DescriptorSlot(-1)),
        .fileRetrieved(FileID(value: 6), .failed(errno: 4095), DescriptorSlot(1)), .flbAdded(flb),
        .flbRetrieved(FLBID(value: 7), .notTried), .flbRemoved(FLBID(value: 7)), .fileRemoved(FileID(value: 6)),
        .sessionHeld(SessionID(value: 5), SessionHolder(user: .max, slot: DescriptorSlot(71), isDetached: true)),
        .sessionHeld(SessionID(value: 5), SessionHolder()),
        .answered(
            Answer(RequestID(connection: DescriptorSlot(3), tag: .max), result: -125, slot: DescriptorSlot(72))),
        .connectionClosed(DescriptorSlot(3)), .phase(.booting), .fileAdded(marked(holdsFile: false, nil)),
        .fileAdded(marked(holdsFile: true, "why")),
        .fileAdded(marked(holdsFile: false, String(repeating: "w", count: 511))),
        .sessionMade(SessionID(value: 5), SessionMaker(time: 1, client: nil)),
        .sessionMade(
            SessionID(value: 5),
            SessionMaker(time: .max, client: SessionClient(process: .max, command: [UInt8](repeating: 0xFF, count: 15)))
        ),
        .fileAttested(FileID(value: 6), 4096, ranges: ranges),
        .sessionOpened(SessionID(value: 5), nil),
        .sessionOpened(SessionID(value: 5), SessionClient(process: 1, command: [])),
    ]

    private static let client = SessionClient(process: 7, command: [UInt8]("sh".utf8))

    @Test("A client whose record cannot be is refused")
    func impossibleClients() {
        let opened = Event.sessionOpened(SessionID(value: 5), Self.client).record
        let changes: [(inout [UInt8]) -> Void] = [
            // The process follows the number of the session.
            { $0.replaceSubrange(8..<12, with: [0, 0, 0, 0]) }, { $0[11] = 0x80 }, { $0[14] = 0 },
            { $0.replaceSubrange(12..., with: [16, 0] + [UInt8](repeating: 1, count: 16)) },
        ]
        for change in changes {
            var record = opened
            change(&record.payload)
            #expect(throws: ArenaError.self) { try Event(record) }
        }
    }

    private static func marked(holdsFile: Bool, _ reason: String?) -> FileState {
        var file = file
        (file.holdsFile, file.leftOut) = (holdsFile, reason)
        return file
    }

    @Test("Unknown marks are refused") func unknownMarks() {
        var record = Event.fileAdded(Self.marked(holdsFile: false, nil)).record
        record.payload[record.payload.count - 1] = 5
        #expect(throws: ArenaError.self) { try Event(record) }
    }

    @Test("A file is left out only if it came, its retrieve has failed, and its reason fits")
    func leftOutThatCannotBe() throws {
        var state = BootState()
        let came = Self.session
        var goes = came
        (goes.id, goes.direction) = (SessionID(value: 8), .outgoing)
        for session in [came, goes] { try state.apply(.sessionAdded(session)) }
        func apply(_ change: (inout FileState) -> Void) throws {
            var (file, state) = (Self.marked(holdsFile: true, "why"), state)
            file.flbs = []
            change(&file)
            try state.apply(.fileAdded(file))
        }
        try apply { _ in }
        #expect(throws: ArenaError.self) { try apply { $0.session = goes.id } }
        #expect(throws: ArenaError.self) { try apply { $0.retrieved = .notTried } }
        #expect(throws: ArenaError.self) { try apply { $0.retrieved = .done } }
        for reason in ["", "a\0", String(repeating: "w", count: 512)] {
            #expect(throws: ArenaError.self) { try apply { $0.leftOut = reason } }
        }
        var file = Self.marked(holdsFile: true, "why")
        file.flbs = []
        try state.apply(.fileAdded(file))
        #expect(throws: ArenaError.self) { try state.apply(.fileRetrieved(file.id, .done, file.slot)) }
    }

    @Test func allComeBack() throws { for event in Self.all { #expect(try Event(event.record) == event) } }

    @Test func cutOrLengthenedTheyAreRefused() {
        for event in Self.all {
            var record = event.record
            record.payload.append(0)
            #expect(throws: ArenaError.self, "\(event)") { try Event(record) }
            for length in 0..<event.record.payload.count {
                record.payload = [UInt8](event.record.payload.prefix(length))
                #expect(throws: ArenaError.self, "\(event) cut to \(length)") { try Event(record) }
            }
        }
    }

    @Test(arguments: [0, 20, 1000, UInt16.max]) func unknownTypesAreRefused(type: UInt16) {
        #expect(throws: ArenaError.self) { try Event(JournalRecord(type: type, payload: [])) }
    }

    @Test("An event that cannot come first is refused")
    func eventsAboutWhatIsNotThere() {
        let events: [Event] = [
            .sessionProgress(SessionID(value: 5), .open), .sessionRemoved(SessionID(value: 5)), .fileAdded(Self.file),
            .fileStored(FileID(value: 6), data: 0, ranges: []),
            .fileRetrieved(FileID(value: 6), .done, DescriptorSlot(1)), .flbRetrieved(FLBID(value: 7), .done),
            .flbRemoved(FLBID(value: 7)), .fileRemoved(FileID(value: 6)),
            .sessionHeld(SessionID(value: 5), SessionHolder()),
            .sessionMade(SessionID(value: 5), SessionMaker(time: 1, client: nil)),
            .sessionOpened(SessionID(value: 5), nil),
        ]
        for event in events {
            var state = BootState()
            #expect(throws: ArenaError.self, "\(event)") { try state.apply(event) }
        }
    }

    @Test func numbersAreGivenOnce() throws {
        var state = BootState()
        try state.apply(.sessionAdded(Self.session))
        var other = Self.session
        other.name = "other"
        #expect(throws: ArenaError.self) { try state.apply(.sessionAdded(other)) }
        other.id = SessionID(value: 8)
        try state.apply(.sessionAdded(other))
        other.id = SessionID(value: 9)
        #expect(throws: ArenaError.self, "the name is taken") { try state.apply(.sessionAdded(other)) }
    }

    @Test("An outgoing FLB has its count from its files, and counts only outgoing ones")
    func countsThatCannotBe() throws {
        var state = BootState()
        var flb = Self.flb
        (flb.kind, flb.count) = (.outgoing, .max)
        #expect(throws: ArenaError.self) { try state.apply(.flbAdded(flb)) }
        flb.count = 0
        try state.apply(.flbAdded(flb))
        try state.apply(.sessionAdded(Self.session))
        var file = Self.file
        file.flbs = [flb.id]
        #expect(throws: ArenaError.self, "the session came, and the FLB did not") { try state.apply(.fileAdded(file)) }
    }

    @Test("A snapshot makes the same state from nothing")
    func snapshots() throws {
        var state = BootState()
        try state.apply(.boot(updateNumber: 4, nextID: 30))
        for id in [UInt64(1), 2] {
            var flb = Self.flb
            (flb.id, flb.kind, flb.count) = (FLBID(value: id), id == 1 ? .outgoing : .incoming, id == 1 ? 0 : 4)
            try state.apply(.flbAdded(flb))
        }
        for id in [UInt64(1), 2] {
            var (session, file) = (Self.session, Self.file)
            (session.id, session.direction) = (SessionID(value: 10 + id), id == 1 ? .outgoing : .incoming)
            try state.apply(.sessionAdded(session))
            try state.apply(.sessionMade(session.id, SessionMaker(time: id, client: Self.client)))
            if id == 2 { try state.apply(.sessionOpened(session.id, nil)) }
            (file.id, file.session, file.flbs) = (FileID(value: 20 + id), session.id, [FLBID(value: id)])
            file.identity.inode = id
            try state.apply(.fileAdded(file))
        }
        try state.apply(.phase(.freezing))
        var again = BootState()
        for event in state.snapshot { try again.apply(event) }
        #expect(again.snapshot == state.snapshot)
        #expect(again.flbs == state.flbs)
        #expect(again.files == state.files)
        #expect(again.sessions == state.sessions)
        #expect(again.flbs[FLBID(value: 1)]?.count == 1, "an outgoing FLB counts the files")
        #expect(again.flbs[FLBID(value: 2)]?.count == 4, "what came has its count already")
        #expect(again.nextID == state.nextID && again.updateNumber == 4)
    }
}
