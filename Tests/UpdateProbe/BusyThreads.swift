// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdate
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage

/// Threads that preserve and release files without a pause while their process hands over. The numbers of descriptors
/// are used again and again for other files.
final class BusyThreads: Sendable {
    private let isEnding = Guarded(false)
    private let running = Guarded(0)

    /// Starts the threads.
    init(_ orchestrator: Orchestrator, count: Int) throws {
        for thread in 0..<count {
            running.with { $0 += 1 }
            try startThread { [self] in
                var round = 0
                // After the hand-over every request fails.
                while !isEnding.with({ $0 }), (try? Self.work(orchestrator, thread, round)) != nil { round += 1 }
                running.with { $0 -= 1 }
            }
        }
    }

    /// Ends the threads, and waits for them.
    func end() {
        isEnding.with { $0 = true }
        while running.with({ $0 }) > 0 { usleep(1000) }
    }

    /// Every fourth session stays, with three files.
    private static func work(_ orchestrator: Orchestrator, _ thread: Int, _ round: Int) throws {
        let session = try orchestrator.createSession(SessionName("busy-\(thread)-\(round)"))
        for token in 0..<4 as Range<UInt64> {
            let file = try makeFile(100 + token)
            defer { try? closeDescriptor(file) }
            try session.preserve(file, token: 100 + token)
        }
        try session.unpreserve(token: 100 + UInt64(round % 4))
        guard round % 4 != 0 || round > 40 else { return }
        try session.close()
    }

    /// Takes the files that came, and reports how many of them are not what they were.
    static func comeBack(_ orchestrator: Orchestrator) throws {
        var (files, wrong) = (0, 0)
        for found in try orchestrator.status().sessions where "\(found.name)".hasPrefix("busy-") {
            let session = try orchestrator.retrieveSession(found.name)
            for token in session.tokens {
                let file = try session.retrieve(token: token)
                files += 1
                if try !holds(file, token) { wrong += 1 }
            }
            try session.finish()
            try session.close()
        }
        say(["busy": "\(files)", "wrong": "\(wrong)"])
    }
}
