// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCommandLine
import LiveUpdatePlatform

/// A progress bar on standard error, if that is a terminal; otherwise it shows nothing.
struct Progress: ~Copyable {
    private let title: String
    private let total: UInt64
    private let state = Guarded((done: UInt64(0), shown: UInt64(0)))
    private let isShown: Bool

    init(_ title: String, total: UInt64, isShown: Bool) {
        self.title = title
        self.total = max(total, 1)
        self.isShown = isShown && isatty(STDERR_FILENO) == 1
    }

    func advance(_ bytes: UInt64) {
        guard isShown else { return }
        let percent = state.with { state -> UInt64? in
            state.done += bytes
            let percent = state.done * 100 / total
            guard percent != state.shown else { return nil }
            state.shown = percent
            return percent
        }
        if let percent { show(percent) }
    }

    private func show(_ percent: UInt64) {
        let width = 30
        let full = Int(percent) * width / 100
        let bar = String(repeating: "#", count: full) + String(repeating: ".", count: max(width - full, 0))
        write("\r\(title) [\(bar)] \(percent) %")
    }

    private func write(_ text: String) { _ = unsafe Glibc.write(STDERR_FILENO, text, text.utf8.count) }

    deinit {
        if isShown { write("\r\u{1B}[K") }
    }
}
