// SPDX-License-Identifier: Apache-2.0
import LiveUpdateHandover
import LiveUpdatePlatform

/// The sessions, files and FLBs that records describe. A record that contradicts the records before it is noted, and
/// the replay goes on; ``BootState`` stops there, because a boot must not use such a state.
struct InvariantReplay {
    /// A value, and the place of the record that has added it.
    struct Placed<Value> {
        var value: Value
        let place: String
    }

    private struct Key<Scope: Hashable>: Hashable {
        let scope: Scope
        let number: UInt64
    }

    private(set) var sessions: [SessionID: Placed<SessionState>] = [:]
    private(set) var files: [FileID: Placed<FileState>] = [:]
    private(set) var flbs: [FLBID: Placed<FLBState>] = [:]
    private(set) var phase = Phase.running
    private(set) var broken: [BrokenInvariant] = []

    private var names: [Direction: [OwnedName: SessionID]] = [:]
    private var flbNames: [FLBState.Kind: [ExactString: FLBID]] = [:]
    private var tokens: [Key<SessionID>: FileID] = [:]
    private var held: [FileHold: FileID] = [:]

    /// Applies an event. `place` is the place of its record.
    mutating func apply(_ event: Event, at place: String) {
        func note(_ invariant: ArenaInvariant, _ reason: String) {
            broken.append(BrokenInvariant(invariant, place, reason))
        }
        func unknown(_ what: String, _ id: UInt64) { note(.references, "\(what) \(id) is not there") }
        switch event {
        case .boot(let number, let next):
            if max(number, next) >= 1 << 62 { note(.numbers, "update \(number), and the next number is \(next)") }
        case .phase(let new): phase = new
        case .sessionAdded(let session): add(session, place)
        case .fileAdded(let file): add(file, place)
        case .flbAdded(let flb): add(flb, place)
        case .sessionProgress(let id, let progress):
            if sessions[id] == nil { unknown("session", id.value) }
            sessions[id]?.value.progress = progress
            if progress == .finished { releaseFiles(of: id) }
        case .sessionRemoved(let id):
            guard let session = sessions[id]?.value else { return unknown("session", id.value) }
            releaseFiles(of: id)
            sessions[id] = nil
            names[session.direction]?[session.ownedName] = nil
        case .sessionHeld(let id, let holder):
            guard let session = sessions[id]?.value else { return unknown("session", id.value) }
            if session.holder.user != holder.user {
                note(
                    .references, "user \(holder.user) holds session \"\(session.name)\" of user \(session.holder.user)")
            }
            sessions[id]?.value.holder.slot = holder.slot
        case .fileStored(let id, let data, let ranges):
            if files[id] == nil { unknown("file", id.value) }
            files[id]?.value.data = data
            files[id]?.value.ranges = ranges
        case .fileAttested(let id, let offset, let ranges):
            if files[id] == nil { unknown("file", id.value) }
            files[id]?.value.ranges = ranges
            files[id]?.value.attestation = offset
        case .fileRetrieved(let id, let status, let slot):
            if files[id] == nil { unknown("file", id.value) }
            files[id]?.value.retrieved = status
            files[id]?.value.slot = slot
        case .fileRemoved(let id): files[id] == nil ? unknown("file", id.value) : release(id)
        case .flbRetrieved(let id, _): if flbs[id] == nil { unknown("FLB", id.value) }
        case .flbRemoved(let id):
            if flbs[id]?.value.kind != .discarded { unknown("discarded FLB", id.value) }
            flbs[id] = nil
        default: break
        }
    }

    // MARK: Added records

    private mutating func note(_ invariant: ArenaInvariant, _ place: String, _ reason: String) {
        broken.append(BrokenInvariant(invariant, place, reason))
    }

    private mutating func use(_ number: UInt64, _ place: String) {
        let isUsed =
            sessions[SessionID(value: number)] != nil || files[FileID(value: number)] != nil
            || flbs[FLBID(value: number)] != nil
        if isUsed { note(.numbers, place, "number \(number) is given twice") }
        if number >= 1 << 62 { note(.numbers, place, "no boot reaches the number \(number) by counting") }
    }

    private mutating func add(_ session: SessionState, _ place: String) {
        use(session.id.value, place)
        if !session.name.isValid {
            note(.names, place, "a session's name has \(session.name.bytes.count) bytes, where 1 to 63 can be")
        }
        if names[session.direction]?[session.ownedName] != nil {
            note(
                .names, place,
                "user \(session.holder.user) has a second \(session.direction) session \"\(session.name)\"")
        }
        names[session.direction, default: [:]][session.ownedName] = session.id
        sessions[session.id] = Placed(value: session, place: place)
    }

    private mutating func add(_ flb: FLBState, _ place: String) {
        use(flb.id.value, place)
        checkName(flb.compatible, place)
        if flb.kind != .discarded {
            if flbNames[flb.kind]?[ExactString(flb.compatible)] != nil {
                note(.names, place, "there is a second \(flb.kind) FLB \"\(flb.compatible)\"")
            }
            flbNames[flb.kind, default: [:]][ExactString(flb.compatible)] = flb.id
        }
        flbs[flb.id] = Placed(value: flb, place: place)
    }

    private mutating func checkName(_ compatible: String, _ place: String) {
        guard !compatible.isName(ofAtMost: 47) else { return }
        note(.names, place, "a compatible string has \(compatible.utf8.count) bytes, where 1 to 47 can be")
    }

    private mutating func add(_ file: FileState, _ place: String) {
        use(file.id.value, place)
        checkName(file.compatible, place)
        guard let session = sessions[file.session]?.value else {
            return note(.references, place, "session \(file.session.value) of token \(file.token) is not there")
        }
        files[file.id] = Placed(value: file, place: place)
        let name = "token \(file.token) of session \"\(session.name)\""
        checkUnique(file, of: session, name, place)
        do throws(ArenaError) { try file.checkLeftOut(session.direction) } catch { note(.leftOut, place, error.reason) }
        if !file.flbs.isSet { note(.references, place, "\(name) counts twice on one FLB") }
        count(file, of: session, name, place)
        sessions[file.session]?.value.files.append(file.id)
    }

    private mutating func checkUnique(_ file: FileState, of session: SessionState, _ name: String, _ place: String) {
        let key = Key(scope: file.session, number: file.token)
        if tokens[key] != nil { note(.tokens, place, "\(name) is there twice") }
        tokens[key] = file.id
        guard file.holdsFile else { return }
        let hold = FileHold(session.holder.user, file.identity)
        if let other = held[hold].flatMap({ files[$0]?.value }) {
            note(.holds, place, "\(name) is the same file, \(file.identity), as token \(other.token)")
        }
        held[hold] = file.id
    }

    private mutating func count(_ file: FileState, of session: SessionState, _ name: String, _ place: String) {
        let kind = session.direction == .outgoing ? FLBState.Kind.outgoing : .incoming
        for id in file.flbs {
            guard let flb = flbs[id]?.value, flb.kind == kind else {
                note(.references, place, "\(session.direction) FLB \(id.value) of \(name) is not there")
                continue
            }
            // An incoming FLB has its count already.
            if kind == .outgoing { flbs[id]?.value.count = flb.count &+ 1 }
        }
    }

    // MARK: Released records

    private mutating func releaseFiles(of id: SessionID) {
        for file in sessions[id]?.value.files ?? [] { release(file) }
        sessions[id]?.value.files = []
    }

    private mutating func release(_ id: FileID) {
        guard let file = files.removeValue(forKey: id)?.value else { return }
        tokens[Key(scope: file.session, number: file.token)] = nil
        if let user = sessions[file.session]?.value.holder.user { held[FileHold(user, file.identity)] = nil }
        sessions[file.session]?.value.files.removeAll { $0 == id }
        for flb in file.flbs { countDown(flb) }
    }

    private mutating func countDown(_ id: FLBID) {
        guard let flb = flbs[id]?.value, flb.count > 0 else { return }
        flbs[id]?.value.count -= 1
        guard flb.count == 1 else { return }
        if flb.kind == .incoming { flbs[id]?.value.ranges = [] }
        if flb.kind == .outgoing {
            flbs[id] = nil
            flbNames[.outgoing]?[ExactString(flb.compatible)] = nil
        }
    }
}
