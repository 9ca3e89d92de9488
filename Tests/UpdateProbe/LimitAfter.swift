// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdate
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage

/// The image after an update has no free descriptor at boot, and when it retrieves.
enum LimitAfter {
    static func run() throws {
        if CommandLine.arguments.contains("--next") { return try next() }
        let process = try begin()
        let session = try process.orchestrator.createSession("s")
        for token in UInt64(0)..<3 {
            let file = try makeFile(token)
            try session.preserve(file, token: token)
            try closeDescriptor(file)
        }
        try process.reboot(into: ownImage(CommandLine.arguments + ["--next"]), unchecked: true)
    }

    private static func next() throws {
        var taken = try takeAll()
        sayFailure("boot") { _ = try begin() }
        say(["variable": unsafe getenv(UpdatableProcess.variable) == nil ? "gone" : "kept"])
        try closeDescriptor(taken.removeLast())
        let process = try begin()
        taken += try takeAll()

        let session = try process.orchestrator.retrieveSession("s")
        sayFailure("retrieve") { _ = try session.retrieve(token: 1) }
        for file in taken { try closeDescriptor(file) }
        var intact = 0
        for token in session.tokens {
            let file = try session.retrieve(token: token)
            if try holds(file, token) { intact += 1 }
        }
        try session.close()
        say(["intact": "\(intact)"].merging(try Descriptors().described("end")) { $1 })
    }

    private static func sayFailure(_ what: String, _ body: () throws -> Void) {
        do {
            try body()
        } catch let error as LiveUpdateError {
            say(["failed": what, "errno": "\(error.errno.rawValue)", "remedy": error.remedy ?? ""])
        } catch {
            say(["failed": what, "fault": "\(error)"])
        }
    }

    /// Opens all descriptors that the process may have.
    private static func takeAll() throws -> [FileDescriptor] {
        var limit = rlimit(rlim_cur: 64, rlim_max: 1024)
        unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        var taken: [FileDescriptor] = []
        while let file = try? openFile("/dev/null") { taken.append(file.release()) }
        return taken
    }
}
