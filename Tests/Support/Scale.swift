// SPDX-License-Identifier: Apache-2.0
import Glibc

/// The share of the repetitive work in this run: all of it, a tenth under a sanitizer, or the value of
/// `LIVEUPDATE_TEST_SCALE` (1 is all, 0.1 a tenth).
package enum Scale {
    /// The share of the work.
    package static let factor: Double = environment("LIVEUPDATE_TEST_SCALE").flatMap(Double.init) ?? automatic

    private static var automatic: Double { isSanitized ? 0.1 : 1 }

    /// A number of repetitions, at least one.
    package static func count(_ full: Int) -> Int { max(1, Int(Double(full) * factor)) }

    /// The distance between the tried points of a sweep; 1 tries all.
    package static var stride: Int { max(1, Int((1 / factor).rounded())) }

    /// Whether this program was built with a sanitizer, with a runtime that exports these symbols.
    package static let isSanitized =
        ["__tsan_init", "__asan_init"].contains { (name: String) in unsafe dlsym(nil, name) != nil }
}

/// The value of an environment variable.
package func environment(_ name: String) -> String? {
    guard let value = unsafe getenv(name) else { return nil }
    return unsafe String(cString: value)
}

/// Whether a skipped test is a fault, because an automatic run must have every tool.
package let isAutomaticRun = environment("CI") == "true"
