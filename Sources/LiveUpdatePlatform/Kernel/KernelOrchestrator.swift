// SPDX-License-Identifier: Apache-2.0
import SystemPackage

/// Whether the kernel that runs has the Live Update Orchestrator (LUO), and whether it is switched on.
///
/// The kernel registers the device only when LUO is switched on: `liveupdate=on` is on its command line, and its Kexec
/// Handover works (`kho=on`).
package struct KernelOrchestrator: Equatable, Sendable {
    /// The path of the kernel's device.
    package static let devicePath = "/dev/liveupdate"

    /// Whether the kernel has registered the device.
    package let isOn: Bool
    /// Whether the device is at its path. devtmpfs makes the file, and a container need not have it.
    package let hasFile: Bool
    /// Whether the kernel's command line switches LUO on. A kernel without LUO ignores that.
    package let isRequested: Bool

    /// Decides from the kernel's files.
    ///
    /// - Parameters:
    ///   - devices: /proc/misc, a line with number and name for each registered device.
    ///   - commandLine: /proc/cmdline.
    ///   - hasFile: whether the device is at its path.
    init(devices: String, commandLine: String, hasFile: Bool) {
        isOn = devices.split(separator: "\n").contains { $0.split(separator: " ").dropFirst() == ["liveupdate"] }
        self.hasFile = hasFile
        isRequested = KernelCommandLine(commandLine).isOn("liveupdate")
    }

    /// Asks the running kernel. A file that cannot be read has nothing in it.
    package static func current() -> KernelOrchestrator {
        KernelOrchestrator(
            devices: (try? readWhole("/proc/misc")) ?? "", commandLine: (try? readWhole("/proc/cmdline")) ?? "",
            hasFile: (try? FileStatus(at: devicePath))?.type == .characterDevice)
    }
}
