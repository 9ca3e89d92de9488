// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import LiveUpdateCommandLine
import LiveUpdateDevice
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage

/// `luoctl preserve`
struct PreserveCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "preserve",
        abstract: "Preserve a file in a session: the file outlives its program, and updates of luod.",
        discussion: """
            The file is a descriptor that this command inherited (--fd), one of another process (--pid and --fd), one \
            that another process has mapped with MAP_SHARED (--pid and --mapping, as root), or has a name (--path). \
            Programs that use it go on. The session must be there: luoctl session create makes one. With \
            --kernel-device this command must inherit it. With --attest, luod also stores checksums of the file, which this \
            command computes: luoctl verify compares them later. The file must not change meanwhile: it is sealed, or \
            all programs that have it open are stopped.
            """)

    @OptionGroup var options: DeviceOptions

    @Option(help: "The session.")
    var session: SessionName

    @Option(
        parsing: .unconditional, help: "Names the file in its session: any number below 2^64.",
        transform: NumberArgument.token)
    var token: UInt64

    @Option(parsing: .unconditional, help: "The descriptor's number.", transform: NumberArgument.descriptor)
    var fd: CInt?

    @Option(
        parsing: .unconditional, help: "The process that has the descriptor.", transform: NumberArgument.process)
    var pid: CInt?

    @Option(
        parsing: .unconditional,
        help: "An address in the mapping, as luoctl check shows it: 0x7f2b6d840000. For memory without a descriptor.",
        transform: NumberArgument.address)
    var mapping: UInt64?

    @Option(help: "The file's name.", completion: .file())
    var path: String?

    @Flag(help: "Hold any descriptor open as it is, also one that is not of a memory file, such as a listening socket.")
    var held = false

    @Flag(help: "Store checksums of the content, for luoctl verify.")
    var attest = false

    @OptionGroup var seeing: SeeingOptions

    func validate() throws {
        guard !attest || (!held && !options.kernelDevice) else {
            throw ValidationError("--attest is for memory files in luod: leave out --held and --kernel-device")
        }
        guard [fd != nil, path != nil, mapping != nil].count(where: { $0 }) == 1 else {
            throw ValidationError("say one of --fd, --mapping and --path")
        }
        guard pid == nil || path == nil else {
            throw ValidationError("--pid needs --fd or --mapping: which of its descriptors, or which mapping")
        }
        guard mapping == nil || pid != nil else { throw ValidationError("--mapping needs --pid: whose mapping") }
        guard !held || !options.kernelDevice else {
            throw ValidationError("only luod holds other descriptors: leave out --held, or --kernel-device")
        }
    }

    func run() throws {
        let file: OwnedDescriptor
        do throws(LiveUpdateError) {
            file = try self.file()
        } catch {
            throw Exit.failed(error)
        }
        let descriptor = file.borrowed
        if options.kernelDevice {
            try KernelDevice.useInherited(session) { session throws(LiveUpdateError) in
                try session.preserve(descriptor, token: token)
            }
        } else {
            try options.luod.run(session) { device throws(LiveUpdateError) in
                let session = try device.attachSession(session, .outgoing)
                if attest {
                    try preserveAttested(descriptor, session, try LuodStatus(of: device))
                } else if held {
                    try session.preserveHeld(descriptor, token: token)
                } else {
                    try session.preserve(descriptor, token: token)
                }
            }
        }
        if let pid, !held { Self.warnOfPrivatePages(of: pid, over: descriptor) }
        // This use keeps the descriptor open until here.
        _ = file.release()
    }

    /// Preserves a file with its checksums, or not at all.
    private func preserveAttested(
        _ file: FileDescriptor, _ session: DeviceSession, _ status: LuodStatus
    ) throws(LiveUpdateError) {
        let (sums, _) = try FileVerification(
            file, "token \(token)", status, showsProgress: true, ignoresUnseen: seeing.ignoreUnseen
        ).sums()
        try session.preserve(file, token: token)
        do throws(LiveUpdateError) {
            try session.attest(sums, token: token)
        } catch {
            try session.unpreserve(token: token)
            throw error
        }
    }

    /// Says how much a process has written over the file in private mappings, because it is not preserved.
    private static func warnOfPrivatePages(of pid: CInt, over file: FileDescriptor) {
        do throws(SystemCallError) {
            let bytes = try RunningProcess(pid).ownBytes(over: try FileStatus(cached: file).identity)
            guard bytes > 0 else { return }
            Exit.say(
                "process \(pid) has \(ByteCount.text(bytes)) of private pages over this file, which are not preserved; "
                    + "map it with MAP_SHARED")
        } catch {
            // The file is preserved. Without the right to look at the process, or after its end, nothing is known.
        }
    }

    private func file() throws(LiveUpdateError) -> OwnedDescriptor {
        if let path { return try opened(path) }
        if let mapping, let pid { return try ProcessMapping(process: pid, address: mapping).file() }
        let number = fd ?? -1
        if let pid { return try duplicate(number, of: pid) }
        let inherited = FileDescriptor(rawValue: number)
        do throws(SystemCallError) {
            // Descriptors that this command opened by itself are close-on-exec and do not count.
            guard inherited.isInherited else { throw SystemCallError("fcntl", .badFileDescriptor) }
            return try inherited.duplicated()
        } catch {
            throw LiveUpdateError(
                error.errno, "descriptor \(number) is not open here",
                remedy: "let this command inherit it, or say --pid")
        }
    }

    private func opened(_ path: String) throws(LiveUpdateError) -> OwnedDescriptor {
        do throws(SystemCallError) {
            return try openForWriting(path)
        } catch {
            // A file that may only be read can be preserved, too.
            if let readable = try? openFile(path) { return readable }
            throw LiveUpdateError(error, path)
        }
    }

    private func duplicate(_ number: CInt, of pid: CInt) throws(LiveUpdateError) -> OwnedDescriptor {
        do throws(SystemCallError) {
            let process = try RunningProcess(pid)
            return try process.duplicate(number)
        } catch {
            let remedy =
                switch error.errno {
                case .notPermitted:
                    "run as root with CAP_SYS_PTRACE, outside of the container or sandbox that forbids it"
                case .badFileDescriptor: "look at /proc/\(pid)/fd for those that it has"
                case .noFunction:
                    "let this command inherit the descriptor: the kernel lends none to others before Linux 5.6"
                default: "look whether it runs"
                }
            throw LiveUpdateError(
                error.errno, "descriptor \(number) of process \(pid): \(error.call)", remedy: remedy)
        }
    }
}
