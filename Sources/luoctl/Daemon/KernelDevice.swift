// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Glibc
import LiveUpdateCommandLine
import LiveUpdateDevice
import LiveUpdatePlatform
import SystemPackage

/// The options of commands that work on sessions of luod, or of the kernel's own device.
struct DeviceOptions: ParsableArguments {
    @OptionGroup var luod: UserOptions

    @Flag(
        help: """
            Use the kernel's /dev/liveupdate, without luod. A session of the kernel ends with its last descriptor: \
            luoctl help session says how it is held.
            """)
    var kernelDevice = false

    func validate() throws {
        guard !kernelDevice || (luod.daemon.state == nil && luod.user == nil) else {
            throw ValidationError("--state and --user are for luod: leave them out, or leave out --kernel-device")
        }
    }

    /// Checks that there is a program if the command must become one.
    func validate(_ program: [String]) throws {
        if kernelDevice {
            guard let first = program.first, !first.isEmpty else {
                throw ValidationError(
                    "name the program that holds the session behind --: a session of the kernel ends with its last "
                        + "descriptor")
            }
        } else {
            guard program.isEmpty else {
                throw ValidationError("a session of luod needs no program that holds it: leave out the program")
            }
        }
    }
}

/// The kernel's own device, for commands with `--kernel-device`.
///
/// A session of the kernel ends with its last descriptor. So a command that opens a session becomes a program that
/// inherits its descriptor. The other commands find the session among the descriptors that they inherited.
enum KernelDevice {
    /// Opens the device and uses it. This process must not have it open.
    static func use(_ body: (LiveUpdateDevice) throws(LiveUpdateError) -> Void) throws {
        let device: LiveUpdateDevice
        do {
            device = try LiveUpdateDevice.kernel()
        } catch {
            guard [.permissionDenied, .notPermitted].contains(error.errno) else { throw Exit.unavailable("\(error)") }
            throw Exit.permission("\(error)")
        }
        try exiting { () throws(LiveUpdateError) in try body(device) }
    }

    /// Opens a session, and becomes a program that has the session as descriptor 3, or behind the descriptors that a
    /// service manager has passed to this command.
    ///
    /// - Returns: only when the program cannot be executed. The session has ended then.
    static func hold(
        _ name: SessionName, in command: [String], _ open: (LiveUpdateDevice) throws(LiveUpdateError) -> DeviceSession
    ) throws -> ExitCode {
        let images = try Execution.images(command, otherwise: "no session was opened")
        // A program that holds one session can become one that holds another.
        var descriptors = try GivenDescriptors(count: 1) { _ in true }
        try use { device throws(LiveUpdateError) in try descriptors.add(try open(device), name) }
        return Execution.become(
            descriptors.telling(images), called: command[0], remedy: "the session has ended with this command")
    }

    /// Uses a session that this command has inherited.
    static func useInherited(
        _ name: SessionName, _ body: (DeviceSession) throws(LiveUpdateError) -> Void
    ) throws {
        try exiting { () throws(LiveUpdateError) in
            guard let found = inherited(name) else { throw notInherited(name) }
            try body(found.session)
        }
    }

    /// Looks for a session among the descriptors that this process has inherited.
    ///
    /// - Parameters:
    ///   - name: the name of the session.
    ///   - minimum: the lowest number for the copy of the descriptor.
    /// - Returns: the session, and the number that was inherited; nil if this process has inherited none of that name.
    static func inherited(_ name: SessionName, from minimum: CInt = 3) -> (session: DeviceSession, number: CInt)? {
        for number in (try? openDescriptors()) ?? [] where number > STDERR_FILENO {
            let descriptor = FileDescriptor(rawValue: number)
            guard descriptor.isInherited, mayBeSession(descriptor),
                let copy = try? descriptor.duplicated(from: minimum),
                let session = try? DeviceSession.ofKernel(copy), (try? session.name()) == name
            else { continue }
            return (session, number)
        }
        return nil
    }

    /// The error of a command that must inherit its session.
    static func notInherited(_ name: SessionName) -> LiveUpdateError {
        LiveUpdateError(
            .noSuchFileOrDirectory, "this command has inherited no session \"\(name)\" of the kernel's device",
            remedy: "run it in a program that holds the session: luoctl session create, or attach, --kernel-device")
    }

    /// Whether the device's calls may be tried on a descriptor: a session is an anonymous inode, and under `luoctl run`
    /// a socket. The same number could mean another call to another device.
    private static func mayBeSession(_ descriptor: FileDescriptor) -> Bool {
        guard let type = (try? FileStatus(cached: descriptor))?.type else { return false }
        return type == .anonymous || type == .socket
    }

    /// Runs `body`, and turns its error into an exit code: 69 for a call that only luod has.
    private static func exiting(_ body: () throws(LiveUpdateError) -> Void) throws {
        do throws(LiveUpdateError) {
            try body()
        } catch {
            if error.errno == .inappropriateIOCTLForDevice { throw Exit.unavailable("\(error.errno.symbol): \(error)") }
            throw Exit.failed(error)
        }
    }
}

extension GivenDescriptors {
    /// Gives the program a descriptor of a session. The kernel's session lives until the program closes it.
    mutating func add(_ session: DeviceSession, _ name: SessionName) throws(LiveUpdateError) {
        do throws(SystemCallError) {
            try add(session.descriptor.duplicated(), called: PassedFiles.name(name, token: nil))
        } catch {
            throw LiveUpdateError(error, "the descriptor of the session for the program")
        }
    }
}
