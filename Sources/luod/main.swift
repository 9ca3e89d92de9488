// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdateDaemon
import LiveUpdatePlatform
import Logging

// luod: see docs/daemon.md. It uses neither an argument parser nor Foundation, because its start is part of a blackout.

openStandardDescriptors()
_ = signal(SIGPIPE, SIG_IGN)
// A write beyond RLIMIT_FSIZE is then an error, and does not end the process. The other processes of luod inherit this.
ignoreFileSizeSignal()
if let kind = CommandLine.arguments.dropFirst().first.flatMap({ StartedProcess(rawValue: $0) }) {
    do {
        try kind.run()
    } catch {
        Log("luod-\(kind.rawValue)").say("\(error)", .error)
        exit(1)
    }
}
if CommandLine.arguments.count > 2, CommandLine.arguments[1] == KeeperProcess.replacing {
    do {
        guard let number = CInt(CommandLine.arguments[2]) else { exit(64) }
        try KeeperProcess.resume(from: number)
    } catch {
        Log("luod-keeper").say("the keeper could not go on as \(ProgramImage.ownPath()): \(error)", .error)
        exit(1)
    }
}
let arguments: Arguments
do {
    arguments = try Arguments([String](CommandLine.arguments.dropFirst()))
} catch {
    Log("luod").say("\(error)", .error)
    exit(64)
}
LogFormat.choose(arguments.settings.logFormat)
if arguments.wantsHelp || arguments.wantsVersion {
    print(arguments.wantsHelp ? Arguments.help : packageVersion)
    if fflush(nil) != 0, errno != EPIPE {
        Log("luod").say("the output cannot be written: \(Errno(rawValue: errno))")
        exit(69)
    }
    exit(0)
}
DescriptorLimit.set(to: arguments.settings.descriptors)
guard DescriptorLimit.now >= Settings.fewestDescriptors else {
    Log("luod").say(
        "luod needs \(Settings.fewestDescriptors) open files, and may have \(DescriptorLimit.now): raise the limit "
            + "(ulimit -n, LimitNOFILE=)", .error)
    exit(69)
}
growDescriptorTable(to: arguments.settings.descriptors)
do {
    try KeeperProcess.run(arguments.settings) {
        print("luod: ready on \(arguments.settings.state)")
        fflush(nil)
    }
} catch {
    let failure = StartFailure(error, on: StateDirectory(arguments.settings.state))
    Log("luod").say("\(failure)", .error)
    exit(failure.cause.rawValue)
}
