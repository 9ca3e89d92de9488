// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdatePlatform
package import Testing

/// A trait of tests with requirements that not every machine meets. It tries them directly before the test. If a
/// machine lacks one, the test is skipped with the reason, or fails in an automatic run.
package struct Requirement: TestTrait, SuiteTrait, TestScoping {
    /// The lacking requirement; nil when there is none.
    let missing: @Sendable () -> Lack?
    /// Undoes the preparation of a requirement.
    var after: @Sendable () -> Void = {}
    /// Whether the test must run alone: tests that look at the huge page pool disturb each other.
    let isAlone: Bool

    /// The reason why a test cannot run.
    enum Lack: Sendable {
        /// A machine for automatic runs meets this requirement.
        case unexpected(String)
        /// No machine can guarantee this requirement.
        case expected(String)

        init?(_ reason: String?) {
            guard let reason else { return nil }
            self = .unexpected(reason)
        }
    }

    package var isRecursive: Bool { true }

    package func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
    ) async throws {
        guard isAlone else { return try await check(function) }
        await Turn.pool.take()
        do {
            try await check(function)
        } catch {
            await Turn.pool.give()
            throw error
        }
        await Turn.pool.give()
    }

    private func check(_ function: @Sendable () async throws -> Void) async throws {
        defer { after() }
        switch missing() {
        case nil: try await function()
        case .unexpected(let reason) where isAutomaticRun:
            Issue.record("an automatic run must not skip this: \(reason)")
        case .unexpected(let reason), .expected(let reason): try Test.cancel("\(reason)")
        }
    }
}

extension Trait where Self == Requirement {
    /// Requires that many free huge pages of 2 MiB. No two tests with this trait run at a time.
    package static func requiresHugePages(_ count: UInt64) -> Requirement {
        Requirement(missing: { .init(missingHugePages(count)) }, isAlone: true)
    }

    /// Requires the right to change the pool of huge pages of 2 MiB, and that many free ones.
    package static func requiresPoolRights(_ count: UInt64 = 0) -> Requirement {
        Requirement(missing: { .init(missingPoolRights() ?? missingHugePages(count)) }, isAlone: true)
    }

    /// Requires root.
    package static var requiresRoot: Requirement {
        Requirement(missing: { .init(geteuid() == 0 ? nil : "only root can do this") }, isAlone: false)
    }

    /// Requires Chromium, to lay out a page.
    package static var requiresChromium: Requirement {
        let reason = "Chromium is not installed: scripts/setup does it, as root"
        return Requirement(missing: { .init(Chromium.path == nil ? reason : nil) }, isAlone: false)
    }
}

func missingHugePages(_ count: UInt64) -> String? {
    if count == 0 { return nil }
    do {
        let file = try makeMemoryFile(named: "probe", size: count * PageSize.huge2M.bytes, pageSize: .huge2M)
        try file.borrowed.allocate(offset: 0, length: count * PageSize.huge2M.bytes)
        return nil
    } catch {
        return "\(count) huge pages of 2 MiB cannot be had (\(error)): scripts/with-huge-pages reserves some"
    }
}

private func missingPoolRights() -> String? {
    if environment("SETUP") == "no" { return "SETUP=no: the huge page pool is left alone" }
    do {
        try HugePagePool.setOvercommit(try HugePagePool(.huge2M).overcommit, of: .huge2M)
        return nil
    } catch {
        return "the huge page pool cannot be changed: \(error)"
    }
}

/// Lets one test in at a time, in order of arrival, without blocking a thread.
private actor Turn {
    static let pool = Turn()

    private var isTaken = false
    private var waiting: [CheckedContinuation<Void, Never>] = []

    func take() async {
        guard isTaken else {
            isTaken = true
            return
        }
        await withCheckedContinuation { waiting.append($0) }
    }

    func give() {
        if waiting.isEmpty { isTaken = false } else { waiting.removeFirst().resume() }
    }
}
