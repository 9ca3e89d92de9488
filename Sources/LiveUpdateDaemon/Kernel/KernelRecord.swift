// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdatePlatform
import SystemPackage

/// The file `kernel` of a state: the boot ID of the kernel under which luod has last served the state. It tells a luod
/// that starts whether the kernel was replaced or restarted since. The second line is the boot ID that the file had
/// before, and the time of the file is that of the first service under this kernel: both are for the report of
/// `luoctl kexec`.
///
/// 1. luod starts, and compares the file with the kernel that runs (``comparison``).
/// 2. The first orchestrator reads the arena. Under another kernel, a published tree begins the next boot. Under the
///    same kernel, the kernel was not replaced after all, and the boot goes on.
/// 3. The orchestrator serves, and the file gets the boot ID of this kernel (``noteService()``). If luod dies before
///    that, the luod that starts after it compares again.
final class KernelRecord {
    /// The result of the comparison.
    enum Comparison: Equatable, Sendable {
        /// The state has no such file: no luod has served it, or only a luod of an earlier version.
        case unknown
        /// The kernel that luod has served under still runs.
        case same
        /// Another kernel runs, or the same kernel was started again.
        case other

        /// Compares the content of the file with the boot ID of the kernel that runs. An empty ID is unknown.
        init(recorded: String, running: String) {
            self = recorded.isEmpty || running.isEmpty ? .unknown : recorded == running ? .same : .other
        }
    }

    private let path: String
    private let running: String
    private let recorded: String
    private let log: Log
    /// The comparison, until the state is served under this kernel.
    private(set) var comparison: Comparison

    /// Reads the file of a state.
    ///
    /// - Parameters:
    ///   - path: the path of the file.
    ///   - isOther: whether another kernel is known to run, whatever the file says.
    ///   - log: gets a message when the file cannot be written.
    init(_ path: String, isOther: Bool, _ log: Log) {
        self.path = path
        self.log = log
        running = Self.trimmed(try? readWhole("/proc/sys/kernel/random/boot_id"))
        recorded = Self.trimmed(try? readBeginning(path))
        let compared = Comparison(recorded: recorded, running: running)
        comparison = isOther ? .other : compared
    }

    private static func trimmed(_ text: String?) -> String {
        String((text ?? "").prefix { $0.isHexDigit || $0 == "-" })
    }

    /// Notes that the state is served under this kernel.
    func noteService() {
        guard comparison != .same, !running.isEmpty else { return }
        do throws(SystemCallError) {
            try replaceFile(path, with: "\(running)\n\(recorded)\n")
        } catch {
            log.say(
                "\(path) cannot be written: \(error); a luod that starts later may take this kernel for another one: "
                    + "look for free space and rights there")
        }
        comparison = .same
    }
}
