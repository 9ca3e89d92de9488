import Glibc

/// How much of the repetitive work a run does: all of it, a tenth under a sanitizer, or what
/// `LIVEUPDATE_TEST_SCALE` says (1 is all, 0.1 a tenth).
public enum Scale {
    /// The part of the work that is done.
    public static let factor: Double = environment("LIVEUPDATE_TEST_SCALE").flatMap(Double.init) ?? automatic

    private static var automatic: Double { isSanitized ? 0.1 : 1 }

    /// A count of repetitions, one at least.
    public static func count(_ full: Int) -> Int { max(1, Int(Double(full) * factor)) }

    /// The distance between the points of a sweep that are tried: 1 tries all.
    public static var stride: Int { max(1, Int((1 / factor).rounded())) }

    /// Whether this program was built with a sanitizer: their runtimes export these.
    public static let isSanitized =
        ["__tsan_init", "__asan_init"].contains { (name: String) in unsafe dlsym(nil, name) != nil }
}

/// A variable of the environment.
public func environment(_ name: String) -> String? {
    guard let value = unsafe getenv(name) else { return nil }
    return unsafe String(cString: value)
}

/// Whether a skipped test is a fault: an automatic run must have every tool.
public let isAutomaticRun = environment("CI") == "true"
