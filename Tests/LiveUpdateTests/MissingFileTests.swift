// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import Testing

/// The advice for a file that is missing depends on its place.
@Suite struct MissingFileTests {
    @Test(arguments: [
        ("/etc/x: open", "look whether the path is right"), ("/procure/1: open", "look whether the path is right"),
        ("/home/proc/1: open", "look whether the path is right"),
        ("/proc/41/fd/3: open", "look whether the process runs"),
        ("reading (/proc/41/maps)", "look whether the process runs"),
        ("/proc/sys/vm/x: open", "look whether /proc is mounted"),
        ("/sys/kernel/mm: open", "look whether /sys is mounted, and whether this kernel has it"),
    ])
    func remedy(reason: String, remedy: String) {
        #expect(LiveUpdateError(.noSuchFileOrDirectory, reason).remedy == remedy)
    }
}
