// SPDX-License-Identifier: Apache-2.0
import CLiveUpdate
import Glibc
import SystemPackage

/// Blocks signals, and makes a descriptor that is readable when one of them has come: signalfd(2). Programs that
/// `ProgramImage.spawn(_:)` starts get them unblocked.
///
/// - Throws: EMFILE.
public func blockSignals(_ numbers: [CInt]) throws(SystemCallError) -> OwnedDescriptor {
    let number = try systemCall("signalfd") { unsafe cshims_signalfd(numbers, numbers.count) }
    return OwnedDescriptor(taking: FileDescriptor(rawValue: number))
}

/// Whether this process ignores a signal: sigaction(2). The parent can decide that, as nohup(1) does for SIGHUP.
public func isIgnored(_ number: CInt) -> Bool { cshims_is_ignored(number) != 0 }

/// Makes this process the first of a new process group: setpgid(2). Signals to its former group, such as those of a
/// terminal, do not reach it any more.
public func leaveProcessGroup() { _ = setpgid(0, 0) }

/// Ignores SIGXFSZ in this process, and in the programs that it starts or becomes. A write that would make a file
/// longer than RLIMIT_FSIZE then fails with EFBIG, and does not end the process: setrlimit(2).
public func ignoreFileSizeSignal() { _ = signal(SIGXFSZ, SIG_IGN) }
