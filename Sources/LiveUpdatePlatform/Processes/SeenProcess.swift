// SPDX-License-Identifier: Apache-2.0

/// A process as /proc shows it at one moment: proc_pid_stat(5), proc_pid_cmdline(5).
package struct SeenProcess: Sendable {
    /// The number of the process.
    package let id: CInt
    /// The number of its parent.
    package let parent: CInt
    /// Whether a signal or a tracer has stopped the process.
    package let isStopped: Bool
    /// The time at which the process was started, in clock ticks after the start of the kernel. A process with another
    /// time and the same number is another process.
    package let startTime: UInt64
    /// The arguments of the process. The first is the name of its program.
    package let arguments: [String]

    /// Looks at a process; nil when there is no process of that number.
    package init?(_ id: CInt) {
        // The program chooses its name, and some characters would join the parenthesis behind it, so this looks at
        // bytes.
        guard let line = try? readWhole("/proc/\(id)/stat"), let close = line.utf8.lastIndex(of: UInt8(ascii: ")"))
        else { return nil }
        let words = line[line.utf8.index(after: close)...].split(separator: " ")
        guard words.count > 19, let parent = CInt(words[1]), let startTime = UInt64(words[19]) else { return nil }
        self.id = id
        self.parent = parent
        self.startTime = startTime
        isStopped = ["T", "t"].contains(words[0])
        arguments = ((try? readWhole("/proc/\(id)/cmdline")) ?? "").split(separator: "\0").map(String.init)
    }

    /// The processes that have a file of this path open, as far as this process may look at the descriptors of others.
    /// The files themselves are not accessed.
    package static func all(withOpen path: String) -> [SeenProcess] {
        ((try? processNumbers()) ?? []).filter { process in
            ((try? descriptorNumbers(of: process)) ?? []).contains {
                (try? linkTarget("/proc/\(process)/fd/\($0)")) == path
            }
        }.compactMap(SeenProcess.init)
    }

    /// A process and its children.
    package static func family(of process: CInt) -> [SeenProcess] {
        ((try? processNumbers()) ?? []).compactMap(SeenProcess.init).filter { $0.id == process || $0.parent == process }
    }
}
