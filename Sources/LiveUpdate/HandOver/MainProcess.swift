// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform

/// The main process of a service of systemd. A new one is announced by the old one, since systemd takes notifications
/// only from the main process (NotifyAccess=main): sd_notify(3), MAINPID.
enum MainProcess {
    static func tell(_ process: CInt) {
        // A process without a service manager tells no other.
        guard let path = environmentVariable("NOTIFY_SOCKET"), !path.isEmpty,
            let manager = try? ServiceNotifications(to: path)
        else { return }
        try? manager.send(["MAINPID=\(process)"])
        // This process may end as soon as this returns, and its messages count only while it runs.
        manager.waitUntilRead(within: 1000)
    }
}
