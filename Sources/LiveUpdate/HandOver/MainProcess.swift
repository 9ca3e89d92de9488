// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform

/// The main process of a service of systemd.
enum MainProcess {
    /// Tells systemd the number of the new main process, and that it serves: sd_notify(3), MAINPID and READY. The old
    /// process does this, because systemd takes notifications only from the main process (NotifyAccess=main).
    static func tell(_ process: CInt) {
        // A process without a service manager tells no other.
        guard let path = environmentVariable("NOTIFY_SOCKET"), !path.isEmpty,
            let manager = try? ServiceNotifications(to: path)
        else { return }
        // A manager that has much to read gets this later.
        manager.waitForRoom(within: 1000)
        try? manager.send(["MAINPID=\(process)", "READY=1"])
        // This process may end as soon as this returns, and its messages count only while it runs.
        manager.waitForRoom(within: 1000)
        manager.waitUntilRead(within: 1000)
    }
}
