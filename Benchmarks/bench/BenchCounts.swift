// SPDX-License-Identifier: Apache-2.0
import CCallCounter
import FoundationEssentials
import Glibc
import LiveUpdatePlatform

/// The work of the kernel for a closure. A tracer counts the system calls of this thread, and the kernel counts
/// everything else.
struct BenchCounts {
    /// The system calls of this thread; nil where ptrace(2) is forbidden.
    var systemCalls: Double?
    /// The bytes that read(2) and similar calls read from any file: `rchar` in /proc/self/io.
    var bytesRead = 0.0
    /// The bytes that write(2) and similar calls wrote: `wchar` in /proc/self/io.
    var bytesWritten = 0.0
    /// The page faults: `ru_minflt` of getrusage(2).
    var pageFaults = 0.0
    /// The bytes that reading these counters took. The kernel adds them to its counters afterwards.
    private var ownBytes = 0.0

    init(bytesRead: Double = 0, bytesWritten: Double = 0, pageFaults: Double = 0) {
        self.bytesRead = bytesRead
        self.bytesWritten = bytesWritten
        self.pageFaults = pageFaults
    }

    static func of(_ body: () throws -> Void) throws -> BenchCounts {
        var counter = unsafe call_counter()
        let isTraced = unsafe call_counter_attach(&counter) == 0
        let before = read()
        if isTraced { call_counter_begin() }
        let result = Result { try body() }
        let calls = isTraced ? unsafe call_counter_stop(&counter) : -1
        var counts = read().since(before)
        try result.get()
        counts.bytesRead = max(counts.bytesRead - before.ownBytes, 0)
        if calls >= 0 { counts.systemCalls = Double(calls) }
        return counts
    }

    private func since(_ earlier: BenchCounts) -> BenchCounts {
        BenchCounts(
            bytesRead: bytesRead - earlier.bytesRead, bytesWritten: bytesWritten - earlier.bytesWritten,
            pageFaults: pageFaults - earlier.pageFaults)
    }

    private static func read() -> BenchCounts {
        var usage = rusage()
        unsafe getrusage(CInt(RUSAGE_SELF.rawValue), &usage)
        var counts = BenchCounts(pageFaults: Double(usage.ru_minflt))
        let text = (try? String(contentsOfFile: "/proc/self/io", encoding: .utf8)) ?? ""
        counts.ownBytes = Double(text.utf8.count)
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ")
            if line.hasPrefix("rchar:") { counts.bytesRead = Double(words[1]) ?? 0 }
            if line.hasPrefix("wchar:") { counts.bytesWritten = Double(words[1]) ?? 0 }
        }
        return counts
    }
}
