// SPDX-License-Identifier: Apache-2.0
import SystemPackage

/// The registered handlers, and the FLBs that the files of each handler depend on.
struct Registry: Sendable {
    static let flbLimit = 63

    struct Entry: Sendable {
        /// The handler's compatible string.
        let name: ExactString
        let handler: any FileHandler
        /// The FLBs of the handler in link order.
        var flbs: [any FileLifecycleBound] = []

        init(_ handler: any FileHandler) {
            name = ExactString(handler.compatible)
            self.handler = handler
        }
    }

    /// The handlers in registration order. There are few, so that a search through the list is faster than a hash of a
    /// name.
    private(set) var entries: [Entry] = []

    func entry(_ compatible: String) -> Entry? { position(of: compatible).map { entries[$0] } }

    private func position(of compatible: String) -> Int? {
        let name = ExactString(compatible)
        return entries.firstIndex { $0.name == name }
    }

    /// A registered FLB, by name.
    func flb(_ compatible: String) -> (any FileLifecycleBound)? {
        for entry in entries {
            for flb in entry.flbs where flb.compatible.utf8.elementsEqual(compatible.utf8) { return flb }
        }
        return nil
    }

    private func position(of handler: any FileHandler) -> Int? {
        guard let position = position(of: handler.compatible), entries[position].handler === handler else {
            return nil
        }
        return position
    }

    mutating func register(_ handler: any FileHandler) throws(LiveUpdateError) {
        try Self.check(handler.compatible)
        guard position(of: handler.compatible) == nil else {
            throw LiveUpdateError(
                .fileExists, "a handler \"\(handler.compatible)\" is registered already",
                remedy: "register each handler once")
        }
        if let owner = handler.owner, owner.isGoingAway {
            throw LiveUpdateError(
                .resourceTemporarilyUnavailable, "\(owner.name), which provides it, is going away",
                remedy: "try again when it has come back")
        }
        entries.append(Entry(handler))
    }

    /// Removes a handler. `fileCount` returns the number of files, preserved or unfinished, for a compatible string.
    ///
    /// - Throws: EINVAL when the handler is not registered, EBUSY while it has files or FLBs are linked to it.
    mutating func unregister(_ handler: any FileHandler, fileCount: (String) -> Int) throws(LiveUpdateError) {
        let position = try registered(handler)
        try idle(handler, fileCount)
        guard entries[position].flbs.isEmpty else {
            throw LiveUpdateError(
                .resourceBusy, "FLBs are linked to handler \"\(handler.compatible)\"", remedy: "unlink them first")
        }
        entries.remove(at: position)
    }

    mutating func link(
        _ flb: any FileLifecycleBound, to handler: any FileHandler, fileCount: (String) -> Int
    ) throws(LiveUpdateError) {
        try Self.check(flb.compatible)
        let position = try registered(handler)
        guard !entries[position].flbs.contains(where: { $0 === flb }) else {
            throw LiveUpdateError(
                .fileExists, "\"\(flb.compatible)\" is linked to \"\(handler.compatible)\" already",
                remedy: "link each FLB once")
        }
        try idle(handler, fileCount)
        try checkNew(flb)
        entries[position].flbs.append(flb)
    }

    private func checkNew(_ flb: any FileLifecycleBound) throws(LiveUpdateError) {
        var known: [ExactString: ObjectIdentifier] = [:]
        for entry in entries {
            for other in entry.flbs { known[ExactString(other.compatible)] = ObjectIdentifier(other) }
        }
        if known[ExactString(flb.compatible)] == ObjectIdentifier(flb) { return }
        guard known.count < Self.flbLimit else {
            throw LiveUpdateError(
                .noSpace, "\(Self.flbLimit) FLBs are registered, which is the limit",
                remedy: "let several handlers share an FLB")
        }
        guard known[ExactString(flb.compatible)] == nil else {
            throw LiveUpdateError(
                .fileExists, "another FLB \"\(flb.compatible)\" is registered already",
                remedy: "register the same object on all handlers, or give it a name of its own")
        }
    }

    mutating func unlink(
        _ flb: any FileLifecycleBound, from handler: any FileHandler, fileCount: (String) -> Int
    ) throws(LiveUpdateError) {
        guard let position = position(of: handler), let index = entries[position].flbs.firstIndex(where: { $0 === flb })
        else {
            throw LiveUpdateError(
                .noSuchFileOrDirectory, "\"\(flb.compatible)\" is not linked to \"\(handler.compatible)\"",
                remedy: "link it first")
        }
        try idle(handler, fileCount)
        entries[position].flbs.remove(at: index)
    }

    private func registered(_ handler: any FileHandler) throws(LiveUpdateError) -> Int {
        guard let position = position(of: handler) else {
            throw LiveUpdateError(
                .invalidArgument, "handler \"\(handler.compatible)\" is not registered", remedy: "register it first")
        }
        return position
    }

    private func idle(_ handler: any FileHandler, _ fileCount: (String) -> Int) throws(LiveUpdateError) {
        let count = fileCount(handler.compatible)
        guard count == 0 else {
            throw LiveUpdateError(
                .resourceBusy, "handler \"\(handler.compatible)\" has \(count) files preserved or unfinished",
                remedy: "close or finish their sessions first")
        }
    }

    private static func check(_ compatible: String) throws(LiveUpdateError) {
        guard compatible.isName(ofAtMost: 47) else {
            throw LiveUpdateError(
                .invalidArgument, "the compatible string \"\(compatible)\" has \(compatible.utf8.count) bytes",
                remedy: "use 1 to 47, none of them 0")
        }
    }
}
