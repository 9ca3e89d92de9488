// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform
import SystemPackage
package import Testing

extension Trait where Self == Requirement {
    /// Requires that many free huge pages of 1 GiB, and some of 2 MiB. The pages of 1 GiB are reserved for the test and
    /// given back. A machine that has run for a while may not have so much memory in one piece. An automatic run may
    /// skip the test in this case.
    package static func requiresGigabytePages(_ count: UInt64, andSmall small: UInt64 = 0) -> Requirement {
        let keeper = Guarded<ChildProcess?>(nil)
        return Requirement(
            missing: { .init(missingHugePages(small)) ?? reserve(count, keeper) },
            after: {
                keeper.with { keeper in
                    keeper?.finish()
                    keeper = nil
                }
            },
            isAlone: true)
    }
}

private func reserve(_ count: UInt64, _ keeper: Guarded<ChildProcess?>) -> Requirement.Lack? {
    if environment("SETUP") == "no" { return .unexpected("SETUP=no: the huge page pool is left alone") }
    do throws(SystemCallError) {
        let taken = try HugePageReservation.take(count, of: .huge1G)
        if taken > 0 { try keeper.with { (keeper) throws(SystemCallError) in keeper = try giveBackAtTheEnd(taken) } }
        return nil
    } catch {
        let reason = "\(count) huge pages of 1 GiB cannot be had: \(error)"
        switch error.errno {
        case .noMemory, .noSuchFileOrDirectory: return .expected(reason)
        default: return .unexpected(reason)
        }
    }
}

/// Starts a process that gives the pages back, by difference and under the lock. It waits until it is told to, or until
/// this process ends, even if this process is killed.
private func giveBackAtTheEnd(_ count: UInt64) throws(SystemCallError) -> ChildProcess {
    let script = """
        trap '' INT TERM HUP
        cat
        umask 077
        exec 9>>/run/lock/liveupdate-hugepages.lock
        flock -w 60 9
        cd /sys/kernel/mm/hugepages/hugepages-1048576kB
        left=$(($(cat nr_hugepages) - $(cat surplus_hugepages) - \(count)))
        echo $((left > 0 ? left : 0)) >nr_hugepages
        """
    do throws(SystemCallError) {
        return try ChildProcess.start(ProgramImage(path: "/bin/sh", arguments: ["sh", "-c", script]))
    } catch {
        try HugePageReservation.giveBack(count, of: .huge1G)
        throw error
    }
}
