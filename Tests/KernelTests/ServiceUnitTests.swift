// SPDX-License-Identifier: Apache-2.0
import LiveUpdateKernel
import Testing

/// Where systemd runs, the unit of luod decides whether memory files can go to the next kernel.
@Suite struct ServiceUnitTests {
    @Test(
        "The unit of a process is found in its control groups",
        arguments: [
            ("0::/system.slice/luod.service\n", "luod.service"),
            ("12:pids:/other.service\n1:name=systemd:/system.slice/my-luod.service\n0::/\n", "my-luod.service"),
            ("0::/user.slice/user-0.slice/user@0.service/app.slice/luod.service/inner\n", "luod.service"),
            ("0::/user.slice/user-0.slice/session-1.scope\n", nil), ("0::/\n", nil), ("", nil), ("nonsense", nil),
        ] as [(String, String?)])
    func unit(groups: String, expected: String?) { #expect(ServiceUnit(groups: groups)?.name == expected) }

    @Test(
        "Only a unit that is over with its main process leaves another process alone",
        arguments: [
            ("KillMode=process\nExitType=main\n", true), ("ExitType=main\nKillMode=process\n", true),
            ("KillMode=process\n", true), ("KillMode=none\nExitType=main\n", true),
            ("KillMode=process\nExitType=cgroup\n", false), ("KillMode=mixed\nExitType=main\n", false),
            ("KillMode=control-group\n", false), ("", false),
        ])
    func properties(output: String, expected: Bool) { #expect(ServiceUnit.leavesProcesses(output) == expected) }
}
