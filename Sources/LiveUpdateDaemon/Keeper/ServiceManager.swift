import LiveUpdate
import Platform
import SystemPackage

/// The service manager that luod runs under, as long as it stores the held descriptors (``ServiceManagerStore``); or
/// none.
final class ServiceManager {
    private var store: ServiceManagerStore?
    /// Whether the service manager did not read at the last attempt.
    private var isBusy = false
    private let vault: DescriptorVault
    private let log: Log

    /// - Parameter store: nil without a service manager.
    init(_ store: ServiceManagerStore?, _ vault: DescriptorVault, _ log: Log) {
        self.store = store
        self.vault = vault
        self.log = log
    }

    /// Whether a service manager stores the held descriptors.
    var isStoring: Bool { store != nil }

    /// The manager and its store, for the next program of the keeper; nil without one.
    var handed: KeeperState.Service? { store?.handed }

    /// How long the event loop may wait before ``catchUp()``, in milliseconds; nil when nothing is left to send.
    var pause: UInt64? { store?.isBehind == true ? (isBusy ? 10 : 0) : nil }

    /// Notes that a slot was filled or emptied.
    func note(_ slot: DescriptorSlot) { store?.note(slot) }

    /// Says that luod serves.
    func sayReady(process: CInt) { store?.ready(process: process) }

    /// Sends the service manager a part of the changes that were not sent yet.
    ///
    /// - Returns: false when the service manager has just been given up: it stores nothing from now on.
    func catchUp() -> Bool {
        guard let store, store.isBehind else { return true }
        do throws(SystemCallError) {
            isBusy = try !store.catchUp(with: vault)
            return true
        } catch {
            log.say("the service manager no longer stores the descriptors of luod: \(error)")
            self.store = nil
            return false
        }
    }

    /// Says that luod ends, and everything else that was not said yet.
    func stop() { store?.stop(vault) }
}
