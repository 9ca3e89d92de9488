// SPDX-License-Identifier: Apache-2.0
import LiveUpdate

// The first boot, or the one after an update: the arena's descriptor in the environment tells.
let process = try UpdatableProcess()
let luo = process.orchestrator

if try luo.status().updateNumber == 0 {
    let cache = try makeMemoryFile(named: "cache", size: 64 << 20)
    // … fill it, serve from it; preserving changes nothing for those who use it …
    let session = try luo.createSession("cache")
    try session.preserve(cache.borrowed, token: 1)
    let next = ProgramImage(path: "/proc/self/exe", arguments: CommandLine.arguments)
    do throws(LiveUpdateError) {
        try process.reboot(into: next)  // returns only by throwing
    } catch {
        print("no update: \(error)")  // nothing has changed: the program goes on
    }
} else {
    let session = try luo.retrieveSession("cache")
    let cache = try session.retrieve(token: 1)
    try session.finish()
    print("the same file, inode \(try FileStatus(of: cache.borrowed).identity.inode)")
}
