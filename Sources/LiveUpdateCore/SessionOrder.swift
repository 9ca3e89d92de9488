// SPDX-License-Identifier: Apache-2.0

/// The sessions of a boot, of all users and of each user, in the order of their IDs: the oldest first.
///
/// A status is read in pages while sessions come and go. This order finds a page without a look at all sessions.
struct SessionOrder: Equatable, Sendable {
    private var all: [SessionID] = []
    private var ofUser: [SessionUser: [SessionID]] = [:]

    /// The sessions after a number. `user` is the user of the sessions; nil for all users.
    func sessions(after number: UInt64, of user: SessionUser?) -> ArraySlice<SessionID> {
        let sessions = user.map { ofUser[$0] ?? [] } ?? all
        return sessions[sessions.place(of: SessionID(value: number), isBehind: true)...]
    }

    mutating func insert(_ session: SessionID, of user: SessionUser) {
        all.insertInOrder(session)
        ofUser[user, default: []].insertInOrder(session)
    }

    mutating func remove(_ session: SessionID, of user: SessionUser) {
        all.removeInOrder(session)
        ofUser[user]?.removeInOrder(session)
        if ofUser[user]?.isEmpty == true { ofUser[user] = nil }
    }
}

extension RandomAccessCollection where Element: Comparable, Index == Int {
    /// The first place in an ordered collection with an element that is not before another one. If `isBehind` is true,
    /// the element must come behind the other one.
    func place(of other: Element, isBehind: Bool = false) -> Int {
        var (low, high) = (startIndex, endIndex)
        while low < high {
            let middle = low + (high - low) / 2
            if self[middle] < other || isBehind && self[middle] == other { low = middle + 1 } else { high = middle }
        }
        return low
    }
}

extension [SessionID] {
    /// Inserts a session, mostly at the end, because IDs increase.
    fileprivate mutating func insertInOrder(_ session: SessionID) {
        if let last, session < last { insert(session, at: place(of: session)) } else { append(session) }
    }

    fileprivate mutating func removeInOrder(_ session: SessionID) {
        let place = place(of: session)
        if place < count, self[place] == session { remove(at: place) }
    }
}
