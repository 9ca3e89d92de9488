// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateMachine
import LiveUpdatePlatform
import SystemPackage

/// The holder: a process that holds memory files and a session of the kernel's orchestrator while no luod runs. It
/// lives until the kernel ends, or until the next luod on the same state ends it.
///
/// 1. The keeper starts the holder when luod ends after a request to publish for the next kernel, or when the session
///    of the previous kernel has arrived (``KernelArrival``), and sends it the descriptors.
/// 2. The holder writes the list of them (``HolderList``), and only sleeps from then on.
/// 3. If the kernel is replaced, the session hands over the memory files. If not, the next luod takes the descriptors
///    back with pidfd_getfd(2), and ends the holder: ``KernelHolder``.
///
/// The holder does not hinder the end of the machine. Its name begins with `@`, which tells systemd-shutdown to spare
/// it. It ignores SIGTERM. It works in the root directory, writes no log, and holds no file on a disk, so that the
/// machine can unmount all file systems.
enum HolderProcess {
    /// The name of the program in the arguments of the process.
    static let name = "@luod"

    /// Runs until another process ends this process.
    static func run() throws -> Never {
        ignoreEndingSignals()
        let log = Log("luod-holder")
        let (keeper, _) = try StartedProcess.begin(log)
        _ = unsafe chdir("/")
        let list = try receiveAll(keeper)
        let file = try makeMemoryFile(named: "luod-holder", size: 0)
        try file.borrowed.writeWhole(list.bytes)
        // The list gets the number of the link, so the link moves to another number first.
        let link = ControlLink(try keeper.descriptor.duplicated())
        try file.borrowed.copy(to: FileDescriptor(rawValue: HolderList.number))
        // The log may be a file on a disk.
        let null = try openFile("/dev/null")
        for number in [STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO] {
            try null.borrowed.copy(to: FileDescriptor(rawValue: number))
        }
        // The holder only sleeps from now on, and needs no rights.
        try Capabilities.keep(only: [])
        try denyNewPrivileges()
        try link.send(.update(.ready))
        // `keeper` closes its number at its end, and the list has this number now.
        while true { withExtendedLifetime(keeper) { _ = pause() } }
    }

    /// Receives the descriptors, up to the message `holdUntilEnd`.
    ///
    /// - Throws: EPIPE when the keeper has died, EMFILE when descriptors are missing.
    private static func receiveAll(_ keeper: ControlLink) throws(SystemCallError) -> HolderList {
        var list = HolderList(session: nil, entries: [])
        while let received = try keeper.receive(.waiting) {
            guard !received.isCut else { throw SystemCallError("recvmsg", .tooManyOpenFiles) }
            switch received.message {
            case .hold(let slots):
                list.entries += zip(slots, received.descriptors).map {
                    KeeperState.Entry(held: $0, number: $1.rawValue)
                }
            case .holdUntilEnd(let isIncoming):
                list.session = received.descriptors.first.map {
                    HolderList.Session(number: $0.rawValue, isIncoming: isIncoming)
                }
                return list
            default: for descriptor in received.descriptors { try? closeDescriptor(descriptor) }
            }
        }
        throw SystemCallError("recvmsg", .brokenPipe)
    }
}
