// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdatePlatform

/// Shows the current measurement and the remaining time on standard error, if that is a terminal.
struct BenchProgress: ~Copyable {
    private let isShown = isatty(STDERR_FILENO) == 1
    private let total: Double
    private let start = monotonicNanoseconds()
    private var done = 0.0

    init(_ steps: [BenchStep]) { total = max(steps.reduce(0) { $0 + $1.seconds }, 0.1) }

    mutating func begin(_ step: BenchStep) {
        guard isShown else { return }
        let full = Int(done / total * 20)
        let bar = String(repeating: "#", count: full) + String(repeating: ".", count: 20 - full)
        write("\r\u{1B}[K[\(bar)] \(left) \(step.scenario.rawValue): \(step.title)")
    }

    mutating func end(_ step: BenchStep) { done = min(done + step.seconds, total) }

    /// The remaining time: an estimate at first, and later from the pace of the run.
    private var left: String {
        let passed = Double(monotonicNanoseconds() - start) / 1e9
        let seconds = done / total > 0.05 ? passed / done * (total - done) : total
        return seconds < 90 ? "\(Int(seconds.rounded(.up))) s left," : "\(Int((seconds / 60).rounded(.up))) min left,"
    }

    private func write(_ text: String) { _ = unsafe Glibc.write(STDERR_FILENO, text, text.utf8.count) }

    deinit {
        if isShown { write("\r\u{1B}[K") }
    }
}
