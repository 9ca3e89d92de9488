// SPDX-License-Identifier: Apache-2.0
import SystemPackage
import Testing

/// A suite of tests that run luoctl with their own luod.
protocol LuoctlSuite {
    var daemon: RunningDaemon { get }
}

extension LuoctlSuite {
    /// Runs luoctl with LUO_STATE as the state of the luod.
    func ctl(_ arguments: String..., inheriting: FileDescriptor? = nil) async throws -> Ended {
        try await run(
            [Program.path("luoctl")] + arguments, environment: ["LUO_STATE=\(daemon.state)"], inheriting: inheriting)
    }

    /// Expects an exit code, and words in the output or the errors.
    func expect(_ ended: Ended, _ status: CInt = 0, says words: String...) {
        #expect(ended.status == status, "\(ended)")
        for word in words { #expect((ended.output + ended.errors).contains(word), "\(word):\n\(ended)") }
    }
}
