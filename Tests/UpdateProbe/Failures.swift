// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdate
import LiveUpdateCore
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage

/// Reports the error of an update that must fail.
func expectFailure(_ process: UpdatableProcess, into image: ProgramImage, discarding: Bool = false) {
    do throws(LiveUpdateError) {
        try process.reboot(into: image, discardingUnfinished: discarding, unchecked: true)
    } catch {
        say(["failed": error.description, "errno": "\(error.errno.rawValue)"])
    }
}

/// Reports, in the boot after the update, whether both files of "s" came.
private func sayWhatCame(_ process: UpdatableProcess) throws {
    let session = try process.orchestrator.retrieveSession("s")
    var intact: [UInt64] = []
    for token in session.tokens {
        let file = try session.retrieve(token: token)
        if try holds(file, token) { intact.append(token) }
    }
    try session.close()
    say(["came": intact.map { "\($0)" }.joined(separator: ",")].merging(try Descriptors().described("end")) { $1 })
}

/// Updates to a program that cannot be executed. The boot goes on, and a second update succeeds.
enum BadImage {
    static func run(_ path: String) throws {
        let process = try begin()
        if try process.orchestrator.status().updateNumber > 0 { return try sayWhatCame(process) }
        let session = try process.orchestrator.createSession("s")
        let (first, second) = (try makeFile(1), try makeFile(2))
        try session.preserve(first, token: 1)
        let used = try process.orchestrator.status().arenaUsed
        for _ in 0..<3 { expectFailure(process, into: ProgramImage(path: FilePath(path), arguments: ["next"])) }
        // The boot is unchanged, and takes requests.
        let after = try process.orchestrator.status().arenaUsed
        say(["grown": "\(after > used)"].merging(try Descriptors().described("thawed")) { $1 })
        let other = try process.orchestrator.createSession("other")
        do throws(LiveUpdateError) { try other.preserve(first, token: 1) } catch {
            say(["busy": "\(error.errno.rawValue)"])
        }
        try other.close()
        try session.preserve(second, token: 2)
        try process.reboot(into: ownImage(), unchecked: true)
    }
}

/// Changes the size of a file. The freeze fails, and with the old size the update succeeds.
enum Resize {
    static func run() throws {
        let process = try begin()
        if try process.orchestrator.status().updateNumber > 0 { return try sayWhatCame(process) }
        let session = try process.orchestrator.createSession("s")
        let (first, second) = (try makeFile(1), try makeFile(2))
        try session.preserve(first, token: 1)
        try session.preserve(second, token: 2)
        try second.setSize(8192)
        expectFailure(process, into: ownImage())
        say(try Descriptors().described("thawed"))
        try second.setSize(4096)
        try process.reboot(into: ownImage(), unchecked: true)
    }
}

/// Tests unfinished incoming sessions.
///
/// 1. "a" and "b" travel, with one file each.
/// 2. "a" is finished. The next update is refused because of "b", and then told to discard it.
/// 3. The FLB of the discarded session is finished, and no session came.
enum Unfinished {
    static func run() throws {
        let process = try begin()
        let orchestrator = process.orchestrator
        switch try orchestrator.status().updateNumber {
        case 0:
            for (index, name) in (["a", "b", "c"] as [SessionName]).enumerated() {
                let file = try makeFile(UInt64(index))
                try orchestrator.createSession(name).preserve(file, token: 1)
            }
            try process.reboot(into: ownImage(), unchecked: true)
        case 1:
            try orchestrator.retrieveSession("a").close()
            _ = try orchestrator.retrieveSession("b").retrieve(token: 1)
            expectFailure(process, into: ownImage())
            try process.reboot(into: ownImage(), discardingUnfinished: true, unchecked: true)
        default:
            let sessions = try orchestrator.status().sessions.map(\.name.description).joined(separator: ",")
            say(["sessions": sessions].merging(try Descriptors().described("end")) { $1 })
        }
    }
}

/// Starts an image that lacks a handler. It cannot read the state, and leaves it to an image with the handler.
enum Forget {
    static func run() throws {
        if CommandLine.arguments.contains("--forgot") { return try forgot() }
        let process = try begin()
        if try process.orchestrator.status().updateNumber > 0 { return try sayWhatCame(process) }
        let file = try makeFile(1)
        try process.orchestrator.createSession("s").preserve(file, token: 1)
        try process.reboot(into: ownImage(CommandLine.arguments + ["--forgot"]), unchecked: true)
    }

    private static func forgot() throws {
        let number = unsafe getenv(UpdatableProcess.variable).flatMap { unsafe CInt(String(cString: $0)) } ?? -1
        let copy = try FileDescriptor(rawValue: number).duplicated().release()
        let before = try checksum(copy)
        do throws(LiveUpdateError) {
            _ = try begin(handlers: false)
        } catch {
            say(["failed": error.description, "errno": "\(error.errno.rawValue)"])
        }
        say(["untouched": "\(try checksum(copy) == before)"])
        // The held descriptor was not touched either, so the image that wrote the arena can start on it.
        try copy.setCloseOnExec(false)
        var image = ownImage(CommandLine.arguments.filter { $0 != "--forgot" })
        image.environment.append("\(UpdatableProcess.variable)=\(copy.rawValue)")
        try image.execute()
    }

    private static func checksum(_ file: FileDescriptor) throws -> UInt32 {
        let mapping = try Mapping(of: file, length: try FileStatus(of: file).size, .shared(writable: false))
        return unsafe CRC32C.of(UnsafeRawBufferPointer(mapping.bytes))
    }
}

/// Asks images whether they know the formats in use, and then updates with text in the buffer of standard output.
enum Check {
    static func run() throws {
        let process = try begin()
        if try process.orchestrator.status().updateNumber > 0 { return try sayWhatCame(process) }
        let file = try makeFile(1)
        try process.orchestrator.createSession("s").preserve(file, token: 1)
        let images = [
            ("same", ownImage()), ("lacking", ownImage(["probe", "begin-lacking"])),
            ("other", ProgramImage(path: "/bin/true", arguments: ["true"])),
            ("missing", ProgramImage(path: "/nonexistent", arguments: ["missing"])),
        ]
        for (name, image) in images {
            do throws(LiveUpdateError) {
                try process.check(image)
                say(["image": name])
            } catch {
                say(["image": name, "failed": error.description, "errno": "\(error.errno.rawValue)"])
            }
        }
        do throws(LiveUpdateError) {
            try process.reboot(into: ownImage(["probe", "begin-lacking"]))
        } catch {
            say(["refused": error.description, "errno": "\(error.errno.rawValue)"])
        }
        try waitForInput()
        // Standard output is a pipe in the tests, so the C library buffers this line.
        print("{\"buffered\":\"yes\"}")
        try process.reboot(into: ownImage())
    }
}

/// Starts a thread that waits for standard input, and so has the lock of that stream.
private func waitForInput() throws {
    var ends: [CInt] = [0, 0]
    unsafe pipe(&ends)
    dup2(ends[0], STDIN_FILENO)
    try startThread(stackSize: 1 << 20, blockingSignals: true) { _ = readLine() }
    usleep(50_000)
}

/// Tries to preserve a file with a name, or an unlinked one.
enum Offer {
    static func run(path: String, unlinking: Bool) throws {
        let process = try begin()
        let number = unsafe open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        let file = OwnedDescriptor(taking: FileDescriptor(rawValue: number))
        if unlinking { unsafe unlink(path) }
        try process.orchestrator.createSession("s").preserve(file.borrowed, token: 1)
        say(["taken": "true"])
    }
}
