// SPDX-License-Identifier: Apache-2.0
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage

/// An event in the life of a boot, and a record of the journal. A request makes one event or several, committed
/// together.
///
/// The progress of incoming sessions and the phase of an update are events, too. A change of a layout must raise
/// `Superblock.version`.
enum Event: Equatable, Sendable {
    case boot(updateNumber: UInt64, nextID: UInt64)
    case phase(Phase)
    case sessionAdded(SessionState)
    case sessionProgress(SessionID, SessionState.Progress)
    /// The session was closed. The files of an outgoing session are unpreserved, and those of an incoming session are
    /// finished.
    case sessionRemoved(SessionID)
    case fileAdded(FileState)
    /// The freeze of the file has stored its state again.
    case fileStored(FileID, data: UInt64, ranges: [StoredRange])
    case fileRetrieved(FileID, RetrieveStatus, DescriptorSlot)
    /// The checksums of the file are at this offset, in one of its ranges.
    case fileAttested(FileID, UInt64, ranges: [StoredRange])
    case flbAdded(FLBState)
    case flbRetrieved(FLBID, RetrieveStatus)
    /// A discarded FLB was finished.
    case flbRemoved(FLBID)
    /// The file was unpreserved, and its session goes on.
    case fileRemoved(FileID)
    /// The session was attached or detached.
    case sessionHeld(SessionID, SessionHolder)
    /// The client that made the session, and the time. The event follows `sessionAdded`.
    case sessionMade(SessionID, SessionMaker)
    /// A client has opened the session; nil for an unknown process.
    case sessionOpened(SessionID, SessionClient?)
    /// A request was answered that must not be done twice.
    case answered(Answer)
    /// The connection has closed, and no client waits on it for an answer.
    case connectionClosed(DescriptorSlot)
}

extension Event {
    /// Whether the event may change the next tree.
    var isAboutWhatTravels: Bool {
        switch self {
        case .phase, .answered, .connectionClosed, .sessionOpened: false
        default: true
        }
    }

    private enum Kind: UInt16 {
        case boot = 1
        case phase, sessionAdded, sessionProgress, sessionRemoved
        case fileAdded, fileStored, fileRetrieved
        case flbAdded, flbRetrieved, flbRemoved
        case fileRemoved
        case sessionHeld, answered, connectionClosed
        /// A `fileAdded` with marks after its fields: the file holds nothing, or was left out.
        case markedFileAdded
        case sessionMade, sessionOpened, fileAttested
    }

    /// The event as a record of the journal.
    var record: JournalRecord {
        var writer = ByteWriter(capacity: payloadLength)
        let kind: Kind
        switch self {
        case .boot(let number, let next):
            kind = .boot
            writer.put(number)
            writer.put(next)
        case .phase(let phase):
            kind = .phase
            writer.put(phase.rawValue)
        case .sessionAdded(let session):
            kind = .sessionAdded
            writer.put(session)
        case .sessionProgress(let id, let progress):
            kind = .sessionProgress
            writer.put(id.value)
            writer.put(progress.rawValue)
        case .sessionRemoved(let id):
            kind = .sessionRemoved
            writer.put(id.value)
        case .fileAdded(let file):
            kind = file.marks.isEmpty ? .fileAdded : .markedFileAdded
            writer.put(file)
            if !file.marks.isEmpty { writer.putMarks(of: file) }
        case .fileStored(let id, let data, let ranges):
            kind = .fileStored
            writer.put(id.value)
            writer.put(data)
            writer.put(ranges)
        case .fileAttested(let id, let offset, let ranges):
            kind = .fileAttested
            writer.put(id.value)
            writer.put(offset)
            writer.put(ranges)
        case .fileRetrieved(let id, let status, let slot):
            kind = .fileRetrieved
            writer.put(id.value)
            writer.put(status.number)
            writer.put(slot.number)
        case .flbAdded(let flb):
            kind = .flbAdded
            writer.put(flb)
        case .flbRetrieved(let id, let status):
            kind = .flbRetrieved
            writer.put(id.value)
            writer.put(status.number)
        case .flbRemoved(let id):
            kind = .flbRemoved
            writer.put(id.value)
        case .fileRemoved(let id):
            kind = .fileRemoved
            writer.put(id.value)
        case .sessionHeld(let id, let holder):
            kind = .sessionHeld
            writer.put(id.value)
            writer.put(holder)
        case .sessionMade(let id, let maker):
            kind = .sessionMade
            writer.put(id.value)
            writer.put(maker.time)
            writer.put(maker.client)
        case .sessionOpened(let id, let client):
            kind = .sessionOpened
            writer.put(id.value)
            writer.put(client)
        case .answered(let answer):
            kind = .answered
            writer.put(answer.request.connection.number)
            writer.put(answer.request.tag)
            writer.put(answer.result)
            writer.put(answer.slot.number)
        case .connectionClosed(let connection):
            kind = .connectionClosed
            writer.put(connection.number)
        }
        return JournalRecord(type: kind.rawValue, payload: writer.bytes)
    }

    /// The expected length of the payload: exact for the events that are frequent in an update, a guess for the others.
    private var payloadLength: Int {
        switch self {
        case .fileAdded(let file): 68 + file.compatible.utf8.count + 8 * file.flbs.count + 20 * file.ranges.count
        case .fileRetrieved: 20
        default: 64
        }
    }

    /// Decodes a record.
    ///
    /// - Throws: `record` for a type that this version does not know, and for a record that is too short or too long.
    init(_ record: JournalRecord) throws(ArenaError) {
        guard let kind = Kind(rawValue: record.type) else {
            throw ArenaError(.record, "a record of the unknown type \(record.type)")
        }
        var reader = ByteReader(record.payload, "record of type \(kind)")
        switch kind {
        case .boot: self = .boot(updateNumber: try reader.take(), nextID: try reader.take())
        case .phase: self = .phase(try reader.takeCase("phase"))
        case .sessionAdded: self = .sessionAdded(try reader.takeSession())
        case .sessionProgress:
            self = .sessionProgress(SessionID(value: try reader.take()), try reader.takeCase("progress"))
        case .sessionRemoved: self = .sessionRemoved(SessionID(value: try reader.take()))
        case .fileAdded: self = .fileAdded(try reader.takeFile())
        case .markedFileAdded: self = .fileAdded(try reader.takeMarkedFile())
        case .fileStored:
            self = .fileStored(
                FileID(value: try reader.take()), data: try reader.take(), ranges: try reader.takeRanges())
        case .fileAttested:
            self = .fileAttested(
                FileID(value: try reader.take()), try reader.take(), ranges: try reader.takeRanges())
        case .fileRetrieved:
            self = .fileRetrieved(
                FileID(value: try reader.take()), try reader.takeStatus(), DescriptorSlot(try reader.take()))
        case .flbAdded: self = .flbAdded(try reader.takeFLB())
        case .flbRetrieved: self = .flbRetrieved(FLBID(value: try reader.take()), try reader.takeStatus())
        case .flbRemoved: self = .flbRemoved(FLBID(value: try reader.take()))
        case .fileRemoved: self = .fileRemoved(FileID(value: try reader.take()))
        case .sessionHeld: self = .sessionHeld(SessionID(value: try reader.take()), try reader.takeHolder())
        case .sessionMade:
            self = .sessionMade(
                SessionID(value: try reader.take()),
                SessionMaker(time: try reader.take(), client: try reader.takeClient()))
        case .sessionOpened:
            self = .sessionOpened(SessionID(value: try reader.take()), try reader.takeClient())
        case .answered:
            let request = RequestID(connection: DescriptorSlot(try reader.take()), tag: try reader.take())
            self = .answered(Answer(request, result: try reader.take(), slot: DescriptorSlot(try reader.take())))
        case .connectionClosed: self = .connectionClosed(DescriptorSlot(try reader.take()))
        }
        guard reader.isAtEnd else { throw ArenaError(.record, "a record of type \(kind) is too long") }
    }
}

extension RetrieveStatus {
    /// The number as the kernel writes it.
    package var number: Int32 {
        switch self {
        case .notTried: 0
        case .done: 1
        case .failed(let errno): -errno
        }
    }
}

extension ByteWriter {
    fileprivate mutating func put(_ session: SessionState) {
        put(session.id.value)
        put(session.direction == .incoming ? UInt8(1) : 0)
        put(session.progress.rawValue)
        put(counted: session.name)
        // The default holder is not written, so that the format of an embedded program's journal did not change.
        if session.holder != SessionHolder() { put(session.holder) }
    }

    fileprivate mutating func put(_ holder: SessionHolder) {
        put(holder.user)
        put(holder.slot.number)
        put(holder.isDetached ? UInt8(1) : 0)
    }

    fileprivate mutating func put(_ file: FileState) {
        put(file.id.value)
        put(file.session.value)
        put(file.token)
        put(file.slot.number)
        put(file.identity.device)
        put(file.identity.inode)
        put(file.data)
        put(file.retrieved.number)
        put(counted: file.compatible)
        put(UInt16(file.flbs.count))
        for flb in file.flbs { put(flb.value) }
        put(file.ranges)
    }

    /// Appends the marks after the file's other fields.
    fileprivate mutating func putMarks(of file: FileState) {
        put(file.marks.rawValue)
        if let reason = file.leftOut { put(counted: reason) }
    }

    fileprivate mutating func put(_ flb: FLBState) {
        put(flb.id.value)
        put(flb.kind.rawValue)
        put(flb.data)
        put(flb.count)
        put(flb.retrieved.number)
        put(counted: flb.compatible)
        put(flb.ranges)
    }

    fileprivate mutating func put(_ ranges: [StoredRange]) {
        put(UInt32(ranges.count))
        for stored in ranges {
            put(stored.range.offset)
            put(stored.range.length)
            put(stored.checksum)
        }
    }
}

extension ByteReader {
    fileprivate mutating func takeCase<Case: RawRepresentable<UInt8>>(_ what: String) throws(ArenaError) -> Case {
        let number = try take(UInt8.self)
        guard let value = Case(rawValue: number) else { throw ArenaError(.record, "\(what) \(number)") }
        return value
    }

    fileprivate mutating func takeStatus() throws(ArenaError) -> RetrieveStatus {
        switch try take(Int32.self) {
        case 0: .notTried
        case 1: .done
        case let number where number < 0 && number > -4096: .failed(errno: -number)
        case let number: throw ArenaError(.record, "retrieve status \(number)")
        }
    }

    fileprivate mutating func takeSession() throws(ArenaError) -> SessionState {
        let id = SessionID(value: try take())
        let direction: Direction = try take(UInt8.self) == 1 ? .incoming : .outgoing
        let progress: SessionState.Progress = try takeCase("progress")
        var session = SessionState(
            id: id, name: try takeCountedName(), direction: direction, progress: progress)
        if !isAtEnd { session.holder = try takeHolder() }
        return session
    }

    fileprivate mutating func takeHolder() throws(ArenaError) -> SessionHolder {
        SessionHolder(
            user: try take(), slot: DescriptorSlot(try take()), isDetached: try take(UInt8.self) == 1)
    }

    fileprivate mutating func takeFile() throws(ArenaError) -> FileState {
        let id = FileID(value: try take())
        let session = SessionID(value: try take())
        let token = try take(UInt64.self)
        let slot = DescriptorSlot(try take())
        let identity = FileIdentity(device: try take(), inode: try take())
        let data = try take(UInt64.self)
        let retrieved = try takeStatus()
        let compatible = try takeCountedString()
        var flbs: [FLBID] = []
        for _ in 0..<(try take(UInt16.self)) { flbs.append(FLBID(value: try take())) }
        return FileState(
            id: id, session: session, token: token, compatible: compatible, slot: slot, identity: identity,
            data: data, ranges: try takeRanges(), flbs: flbs, retrieved: retrieved)
    }

    fileprivate mutating func takeMarkedFile() throws(ArenaError) -> FileState {
        var file = try takeFile()
        let marks = try FileMarks(checking: take())
        file.holdsFile = !marks.contains(.holdsNothing)
        if marks.contains(.leftOut) { file.leftOut = try takeCountedString() }
        return file
    }

    fileprivate mutating func takeFLB() throws(ArenaError) -> FLBState {
        let id = FLBID(value: try take())
        let kind: FLBState.Kind = try takeCase("kind of FLB")
        let data = try take(UInt64.self)
        let count = try take(UInt64.self)
        let retrieved = try takeStatus()
        let compatible = try takeCountedString()
        return FLBState(
            id: id, kind: kind, compatible: compatible, data: data, ranges: try takeRanges(), count: count,
            retrieved: retrieved)
    }

    fileprivate mutating func takeRanges() throws(ArenaError) -> [StoredRange] {
        var ranges: [StoredRange] = []
        for _ in 0..<(try take(UInt32.self)) {
            let range = Extent(offset: try take(), length: try take())
            ranges.append(StoredRange(range: range, checksum: try take()))
        }
        return ranges
    }
}
