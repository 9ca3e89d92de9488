// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import Logging
import SystemPackage

/// The service manager that stores the held descriptors (``ServiceManagerStore``). There may be none.
final class ServiceManager {
    private var store: ServiceManagerStore?
    /// Whether the service manager did not read at the last attempt.
    private var isBusy = false
    private let vault: DescriptorVault
    private let log: Log

    /// Makes the manager of a store. `store` is nil without a service manager.
    init(_ store: ServiceManagerStore?, _ vault: DescriptorVault, _ log: Log) {
        self.store = store
        self.vault = vault
        self.log = log
    }

    /// Whether a service manager stores the held descriptors.
    var isStoring: Bool { store != nil }

    /// The manager and its store, in the form that the next program of the keeper reads; nil without a manager.
    var handed: KeeperState.Service? { store?.handed }

    /// The longest time until the next ``catchUp()``, in milliseconds; nil when nothing is left to send.
    var pause: UInt64? { store?.isBehind == true ? (isBusy ? 10 : 0) : nil }

    /// Notes that a slot was filled or emptied.
    func note(_ slot: DescriptorSlot) { store?.note(slot) }

    /// Reports that luod serves.
    func sayReady(process: CInt) { store?.ready(process: process) }

    /// Sends the service manager a part of the changes that were not sent yet.
    ///
    /// - Returns: false when this has just given up the service manager, which stores nothing from now on.
    func catchUp() -> Bool {
        guard let store, store.isBehind else { return true }
        do throws(SystemCallError) {
            isBusy = try !store.catchUp(with: vault)
            return true
        } catch {
            log.say("the service manager no longer stores the descriptors of luod: \(error)", .error)
            self.store = nil
            return false
        }
    }

    /// Reports that luod ends, and sends all remaining changes.
    func stop() { store?.stop(vault) }
}
