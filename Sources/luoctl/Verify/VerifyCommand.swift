// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import LiveUpdateCommandLine
import LiveUpdateCore
import LiveUpdateDevice
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage

/// `luoctl verify`
struct VerifyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Compare the content of files with the checksums that luoctl preserve --attest has stored in luod.",
        discussion: """
            Without a session, all files with checksums are compared. The checksums are computed by this command, and \
            not by luod. A file is compared only if it cannot change meanwhile: it is sealed, or all programs that \
            have it open are stopped. A session that a client has open is not compared. \
            Exit code: 0 when all files are the same, 1 when a file differs or could not be compared.
            """)

    @Argument(help: "The session.")
    var session: SessionName?

    @Option(
        parsing: .unconditional, help: "Only this file of the session.", transform: NumberArgument.token)
    var token: UInt64?

    @OptionGroup var options: UserOptions

    @OptionGroup var seeing: SeeingOptions

    @Flag(help: "Print JSON, for machines: docs/verify.md describes it.")
    var json = false

    func validate() throws {
        guard token == nil || session != nil else { throw ValidationError("--token needs a session: whose token") }
    }

    func run() throws {
        var results: [VerifiedFile] = []
        try options.run { device throws(LiveUpdateError) in
            let status = try LuodStatus(of: device)
            let selection = VerifySelection(status, user: options.actingUser, session, token)
            try selection.check(session, token)
            for (session, files) in selection.files {
                results += SessionVerification(
                    device, status, session, showsProgress: !json, ignoresUnseen: seeing.ignoreUnseen
                ).results(of: files)
            }
        }
        print(json ? jsonText(VerifyReport(results)) : text(results))
        guard results.allSatisfy({ $0.state == .same }) else { throw ExitCode(1) }
    }

    private func text(_ results: [VerifiedFile]) -> String {
        results.isEmpty ? "no file has checksums" : results.flatMap(\.lines).joined(separator: "\n")
    }
}

/// The option of commands that compute checksums.
struct SeeingOptions: ParsableArguments {
    @Flag(
        help: """
            Read a file although processes at which this user may not look could change it: for a system with such \
            processes that do not have the file.
            """)
    var ignoreUnseen = false
}

/// The files that `luoctl verify` compares. It does no I/O.
struct VerifySelection {
    /// The sessions with their files that have checksums.
    let files: [(session: LuodStatus.Session, files: [LuodStatus.File])]
    private let hasSession: Bool
    private let hasToken: Bool

    init(_ status: LuodStatus, user: UInt32, _ name: SessionName?, _ token: UInt64?) {
        let named = status.sessions.filter { session in
            session.owner == user && (name == nil || SessionName(described: session.name) == name)
        }
        hasSession = !named.isEmpty
        let wanted = token.map { "\($0)" }
        hasToken = wanted == nil || named.contains { $0.files.contains { $0.token == wanted } }
        files = named.map { session in
            (session, session.files.filter { $0.isAttested == true && (wanted == nil || $0.token == wanted) })
        }.filter { !$0.files.isEmpty }
    }

    /// Checks that a session or a token that was named is there, and has checksums.
    ///
    /// - Throws: ENOENT, ENODATA.
    func check(_ name: SessionName?, _ token: UInt64?) throws(LiveUpdateError) {
        guard let name else { return }
        guard hasSession else {
            throw LiveUpdateError(
                .noSuchFileOrDirectory, "there is no session \"\(name)\"",
                remedy: "luoctl session list shows the sessions")
        }
        guard hasToken else {
            throw LiveUpdateError(
                .noSuchFileOrDirectory, "session \"\(name)\" has no file with the token \(token ?? 0)",
                remedy: "luoctl status SESSION shows the tokens")
        }
        guard files.isEmpty else { return }
        let subject = token.map { "token \($0) of session \"\(name)\" has" } ?? "the files of session \"\(name)\" have"
        throw LiveUpdateError(
            FileSums.none, "\(subject) no checksums", remedy: "luoctl preserve --attest stores them")
    }
}

/// Compares files of one session.
struct SessionVerification {
    private let device: LiveUpdateDevice
    private let status: LuodStatus
    private let session: LuodStatus.Session
    private let showsProgress: Bool
    private let ignoresUnseen: Bool

    init(
        _ device: LiveUpdateDevice, _ status: LuodStatus, _ session: LuodStatus.Session, showsProgress: Bool,
        ignoresUnseen: Bool
    ) {
        self.device = device
        self.status = status
        self.session = session
        self.showsProgress = showsProgress
        self.ignoresUnseen = ignoresUnseen
    }

    /// The result for each file. A file that cannot be compared has the reason.
    func results(of files: [LuodStatus.File]) -> [VerifiedFile] {
        files.map { file in
            do throws(LiveUpdateError) {
                return try result(of: file)
            } catch {
                return VerifiedFile(session, file, notCompared: "\(error)")
            }
        }
    }

    /// Opens the session to look at its files. luod lets an incoming session wait again when this is over.
    private func open() throws(LiveUpdateError) -> DeviceSession {
        let name = SessionName(described: session.name)
        let direction: Direction = session.direction == Direction.incoming.rawValue ? .incoming : .outgoing
        guard !session.isAttached else {
            throw LiveUpdateError(
                .resourceBusy, "a client has the session open\(session.holder.map { ": process \($0.words)" } ?? "")",
                remedy: "compare it when that client has ended, or let the client compare its files")
        }
        return session.isDetached ? try device.attachSession(name, direction) : try device.retrieveSession(name)
    }

    private func result(of file: LuodStatus.File) throws(LiveUpdateError) -> VerifiedFile {
        let token = UInt64(file.token) ?? 0
        let subject = "token \(token)"
        let stored: FileSums
        let held: OwnedDescriptor
        do {
            // The session is closed again before the file is read, because its client cannot open it meanwhile.
            let opened = try open()
            stored = try opened.attestation(token: token)
            held = try opened.look(token: token)
        }
        return try FileVerification(
            held.borrowed, subject, status, showsProgress: showsProgress, ignoresUnseen: ignoresUnseen
        )
        .compared(with: stored, session, file)
    }
}

/// Computes the checksums of one file that cannot change meanwhile.
struct FileVerification {
    private let file: FileDescriptor
    private let subject: String
    private let status: LuodStatus
    private let showsProgress: Bool
    private let ignoresUnseen: Bool

    init(
        _ file: FileDescriptor, _ subject: String, _ status: LuodStatus, showsProgress: Bool, ignoresUnseen: Bool
    ) {
        self.file = file
        self.subject = subject
        self.status = status
        self.showsProgress = showsProgress
        self.ignoresUnseen = ignoresUnseen
    }

    /// Compares the file with earlier sums.
    ///
    /// - Throws: as ``sums(blockSize:)``.
    func compared(
        with stored: FileSums, _ session: LuodStatus.Session, _ held: LuodStatus.File
    ) throws(LiveUpdateError) -> VerifiedFile {
        let (now, pageSize) = try sums(blockSize: stored.blockSize)
        return VerifiedFile(session, held, stored, now: now, pageSize.bytes)
    }

    /// The sums of the file, and the size of its pages. Without a block size, the blocks fit the file.
    ///
    /// - Throws: EBUSY for a file that may change; ENOTSUP for a file that is no memory file; the errors of reading it.
    func sums(blockSize: UInt64? = nil) throws(LiveUpdateError) -> (FileSums, PageSize) {
        try Stillness.check(file, subject, status, ignoresUnseen: ignoresUnseen)
        let summing = try FileSumming(file, subject)
        let progress = Progress(subject, total: summing.size, isShown: showsProgress)
        let sums: FileSums?
        do throws(SystemCallError) {
            sums = try summing.sums(blockSize: blockSize ?? summing.blockSize, progress)
        } catch {
            throw LiveUpdateError(error, "\(subject): reading the file")
        }
        // A process may have been continued, or may have opened the file, since.
        try Stillness.check(file, subject, status, ignoresUnseen: ignoresUnseen)
        guard let sums else {
            throw LiveUpdateError(
                .invalidArgument, "\(subject): the file has too many blocks for the checksums in luod",
                remedy: "attest it again (luoctl preserve --attest)")
        }
        return (sums, summing.pageSize)
    }
}
