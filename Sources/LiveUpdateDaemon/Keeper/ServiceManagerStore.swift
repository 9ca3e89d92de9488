// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage

/// The descriptor store of systemd, a further holder of the held descriptors.
///
/// 1. A change of a slot is noted, and sent when the keeper has nothing else to do. No request waits for it.
/// 2. When both keeper and orchestrator have died, systemd starts luod again and passes all stored descriptors. The
///    name of each gives its slot and kind. luod continues with them.
///
/// A descriptor that was not sent before they died is lost, as it is without systemd. A descriptor that was released
/// before they could tell systemd is released again.
final class ServiceManagerStore {
    private let manager: ServiceNotifications
    /// The stored descriptors, by slot.
    private var stored: [DescriptorSlot: HeldSlot]
    /// Descriptors that systemd stores for an earlier luod. They must be removed before their names are used again.
    private var stale: [HeldSlot]
    /// The changes of slots in order. Those from `next` on were not sent yet.
    private var changes: [DescriptorSlot] = []
    private var next = 0
    private var status = ""

    /// Makes a store of the descriptors that systemd has passed. The keeper holds those in `stored`, and does not hold
    /// those in `stale`.
    init(_ manager: ServiceNotifications, stored: [HeldSlot], stale: [HeldSlot]) {
        self.manager = manager
        self.stale = stale
        self.stored = Dictionary(stored.map { ($0.slot, $0) }) { first, _ in first }
    }

    /// The manager and its store, in the form that the next program of the keeper reads.
    var handed: KeeperState.Service {
        KeeperState.Service(
            socket: manager.descriptor.rawValue, stored: stored.values.sorted { $0.slot.number < $1.slot.number },
            stale: stale)
    }

    var isBehind: Bool { next < changes.count || !stale.isEmpty }

    /// Notes that a slot was filled or emptied.
    func note(_ slot: DescriptorSlot) { changes.append(slot) }

    /// Sends systemd some of the noted changes.
    ///
    /// - Returns: false when systemd does not read.
    /// - Throws: ECONNREFUSED and other errors of sendmsg(2), when no process reads the socket.
    func catchUp(with table: DescriptorVault, atMost count: Int = 32) throws(SystemCallError) -> Bool {
        do throws(SystemCallError) {
            while let gone = stale.last {
                try manager.send(["FDSTOREREMOVE=1", "FDNAME=\(gone.storedName)"])
                stale.removeLast()
            }
            for _ in 0..<count where isBehind {
                try tell(changes[next], table)
                next += 1
            }
            if !isBehind {
                (changes, next) = ([], 0)
                try say(status: "\(table.count) descriptors are held")
            }
            return true
        } catch {
            guard error.errno == .resourceTemporarilyUnavailable || error.isShortage else { throw error }
            return false
        }
    }

    private func tell(_ slot: DescriptorSlot, _ table: DescriptorVault) throws(SystemCallError) {
        if let (held, descriptor) = table.entry(slot) {
            guard held.kind.isStored, stored[slot] != held else { return }
            // The close of such a file could hang the service manager, and with it the whole machine.
            guard held.kind != .file || (try? descriptor.mayAskServer()) == false else { return }
            // The name contains the label, and the label has changed.
            if let old = stored[slot] { try manager.send(["FDSTOREREMOVE=1", "FDNAME=\(old.storedName)"]) }
            stored[slot] = nil
            try manager.send(["FDSTORE=1", "FDPOLL=0", "FDNAME=\(held.storedName)"], [descriptor])
            stored[slot] = held
        } else if let gone = stored[slot] {
            try manager.send(["FDSTOREREMOVE=1", "FDNAME=\(gone.storedName)"])
            stored[slot] = nil
        }
    }

    private func say(status now: String) throws(SystemCallError) {
        if now == status { return }
        try manager.send(["STATUS=\(now)"])
        status = now
    }

    /// Reports that the service answers.
    func ready(process: CInt) { insist(["READY=1", "MAINPID=\(process)"], until: milliseconds() + 10_000) }

    /// Reports that the service ends. All messages are sent and read before its process ends.
    func stop(_ table: DescriptorVault) {
        let deadline = milliseconds() + Self.patience
        insist(["STOPPING=1"], until: deadline)
        while isBehind, milliseconds() < deadline {
            guard let wasRead = try? catchUp(with: table) else { return }
            guard !wasRead else { continue }
            // In a shortage this returns at once, because the queue may have room.
            manager.waitForRoom(within: 1000)
            usleep(1_000)
        }
        manager.waitForRoom(within: 1000)
        manager.waitUntilRead(within: 10_000)
    }

    /// Sends a message that must not be lost, even if the manager has much to read.
    private func insist(_ lines: [String], until deadline: UInt64) {
        while milliseconds() < deadline {
            do throws(SystemCallError) {
                return try manager.send(lines)
            } catch {
                guard error.errno == .resourceTemporarilyUnavailable || error.isShortage else { return }
                if error.isShortage { usleep(10_000) } else { manager.waitForRoom(within: 1000) }
            }
        }
    }

    /// The time for the manager to read the rest, in milliseconds. It is less than the 90 s that systemd gives a
    /// service.
    private static let patience: UInt64 = 60_000
}

extension DescriptorKind {
    /// Whether a restarted luod can use the descriptor. It makes the sockets and the memory of the other kinds itself.
    var isStored: Bool { self != .control && self != .memory && self != .rootListener }
}

extension HeldSlot {
    private static let prefix = "luo"
    /// The highest slot in a name. A name can come from anywhere, and later slots must not overflow.
    private static let mostSlots: Int64 = 1 << 60

    /// The name in the store: `luo-KIND-SLOT-COOKIE-USER-BOOT-TRAITS`. The store records nothing else about a
    /// descriptor.
    var storedName: String {
        "\(Self.prefix)-\(kind.rawValue)-\(slot.number)-\(label.cookie)-\(label.user)-\(label.boot)"
            + "-\(label.traits.rawValue)"
    }

    /// Reads the name of a descriptor in the store; nil for another name.
    init?(storedName: String) {
        let parts = storedName.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count == 7, parts[0] == Self.prefix, let number = UInt32(parts[1]),
            let kind = DescriptorKind(rawValue: number), let slot = Int64(parts[2]),
            (1...Self.mostSlots).contains(slot),
            let cookie = UInt64(parts[3]), let user = UInt32(parts[4]), let boot = UInt32(parts[5]),
            let traits = UInt32(parts[6])
        else { return nil }
        let label = DescriptorLabel(
            cookie: cookie, user: user, boot: boot, traits: DescriptorLabel.Traits(rawValue: traits))
        self.init(slot: DescriptorSlot(slot), kind: kind, label: label)
    }
}
