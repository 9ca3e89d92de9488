import Glibc
import LiveUpdate
import Platform
import SystemPackage

/// The descriptor store of systemd, which is a further holder of the held descriptors.
///
/// 1. A change of a slot is noted, and sent when the keeper has nothing else to do: no request waits for it.
/// 2. When keeper and orchestrator have died, systemd starts luod again, and passes all stored descriptors. The name of
///    each tells its slot and its kind. luod goes on with it.
///
/// A descriptor that was not sent when they died is lost, as without systemd. A descriptor that was released, without a
/// message to systemd, is released again.
final class ServiceManagerStore {
    private let manager: ServiceNotifications
    /// By slot.
    private var stored: [DescriptorSlot: Keep]
    /// Descriptors that systemd stores for a luod before this one, and that must go before their names are used again.
    private var stale: [Keep]
    /// What systemd is still to be told, in this order, from `next` on.
    private var changes: [DescriptorSlot] = []
    private var next = 0
    private var status = ""

    /// - Parameters:
    ///   - stored: the descriptors that systemd has passed and the keeper holds.
    ///   - stale: the descriptors that systemd has passed and the keeper does not hold.
    init(_ manager: ServiceNotifications, stored: [Keep], stale: [Keep]) {
        self.manager = manager
        self.stale = stale
        self.stored = Dictionary(stored.map { ($0.slot, $0) }) { first, _ in first }
    }

    /// The manager and its store, for the next program of the keeper.
    var handed: KeeperState.Service {
        KeeperState.Service(
            socket: manager.descriptor.rawValue, stored: stored.values.sorted { $0.slot.number < $1.slot.number },
            stale: stale)
    }

    var isBehind: Bool { next < changes.count || !stale.isEmpty }

    /// The slot is filled, or empty, since a moment ago.
    func note(_ slot: DescriptorSlot) { changes.append(slot) }

    /// Sends systemd some of the noted changes.
    ///
    /// - Returns: false when it does not read.
    /// - Throws: ECONNREFUSED and other errors of sendmsg(2), when no process reads any more.
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
                try say(status: "\(table.count) descriptors are kept")
            }
            return true
        } catch {
            guard error.errno == .resourceTemporarilyUnavailable || error.isShortage else { throw error }
            return false
        }
    }

    private func tell(_ slot: DescriptorSlot, _ table: DescriptorVault) throws(SystemCallError) {
        if let (keep, descriptor) = table.entry(slot) {
            guard keep.kind.isStored, stored[slot] != keep else { return }
            // A service manager could hang in the close of such a file, and the whole machine with it.
            guard keep.kind != .file || (try? descriptor.mayAskServer()) == false else { return }
            // The name contains the label, which has changed.
            if let old = stored[slot] { try manager.send(["FDSTOREREMOVE=1", "FDNAME=\(old.storedName)"]) }
            stored[slot] = nil
            try manager.send(["FDSTORE=1", "FDPOLL=0", "FDNAME=\(keep.storedName)"], [descriptor])
            stored[slot] = keep
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

    /// The service answers.
    func ready(process: CInt) { insist(["READY=1", "MAINPID=\(process)"], until: milliseconds() + 10_000) }

    /// The service ends: everything that it has to say is said, and read, before its process is gone.
    func stop(_ table: DescriptorVault) {
        let deadline = milliseconds() + Self.patience
        insist(["STOPPING=1"], until: deadline)
        while isBehind, milliseconds() < deadline {
            guard let wasRead = try? catchUp(with: table) else { return }
            guard !wasRead else { continue }
            // This does not wait in a shortage, because there may be room.
            manager.waitForRoom(within: 1000)
            usleep(1_000)
        }
        manager.waitForRoom(within: 1000)
        manager.waitUntilRead(within: 10_000)
    }

    /// Says what must not be lost, also when the manager has much to read.
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

    /// How long the manager may take to read the rest, in milliseconds: less than the 90 s that systemd gives a
    /// service.
    private static let patience: UInt64 = 60_000
}

extension DescriptorKind {
    /// Whether it is of use to a luod that is started again, which makes sockets and a memory of its own.
    var isStored: Bool { self != .control && self != .memory && self != .rootListener }
}

extension Keep {
    private static let prefix = "luo"
    /// The highest slot that a name may have. A name can come from anywhere, and later slots must not overflow.
    private static let mostSlots: Int64 = 1 << 60

    /// The name in the store, which records nothing else about a descriptor: `luo-KIND-SLOT-COOKIE-USER-BOOT-TRAITS`.
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
        let label = KeepLabel(cookie: cookie, user: user, boot: boot, traits: KeepLabel.Traits(rawValue: traits))
        self.init(slot: DescriptorSlot(slot), kind: kind, label: label)
    }
}
