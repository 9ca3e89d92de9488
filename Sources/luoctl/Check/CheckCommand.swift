// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import LiveUpdateCommandLine
import LiveUpdatePlatform
import SystemPackage

/// `luoctl check`
struct CheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Say whether a file would be preserved, by which handler, and at what cost; and if not, why.",
        discussion: """
            It really preserves the file, in a private arena, and takes that back: nothing is changed in the file, and \
            its content is not touched. Times are what it took now, here.

            A number is a descriptor that this command inherited (3 or more), or else a process, whose descriptors and \
            mappings are all looked at without stopping it; pid:N and fd:N say which. Anything else is a path, also \
            /proc/PID/fd/N. Exit 0 when the file is accepted; for a process, when every memory file is, there is one, \
            and no written page of a private mapping is missing in its memory file.

            --machine looks at the machine instead: features of the kernel, limits, pools of huge pages, permissions, \
            units, versions, and leftovers. It changes nothing. Exit 0 without a fault, 1 with one.
            """)

    @Argument(
        help: ArgumentHelp("A process, a descriptor or a path.", valueName: "pid|fd|path"), completion: .file())
    var target: String?

    @Flag(help: "Look at the whole machine: each finding has its remedy.")
    var machine = false

    @OptionGroup var daemon: DaemonOptions

    @Flag(help: "For a process, list descriptors that are no memory files, too, with the reasons.")
    var all = false

    @Flag(help: "Print JSON, for machines.")
    var json = false

    func validate() throws {
        guard machine else {
            guard let target else { throw ValidationError("say which process, descriptor or path; or --machine") }
            _ = try CheckTarget(target)
            return
        }
        guard target == nil, !all else {
            throw ValidationError("--machine is for the whole machine: say no target, and not --all")
        }
    }

    func run() throws {
        guard !machine else { return try runForTheMachine() }
        let target = try CheckTarget(target ?? "")
        // The check must not fail because of this command's own limit of descriptors.
        DescriptorLimit.raise(to: 256)
        let report = CheckReport(target: target, found: try look(at: target), listsAll: all)
        print(json ? report.json : report.text)
        guard report.isAccepted else { throw ExitCode(report.needsRight ? 77 : 1) }
    }

    private func runForTheMachine() throws {
        let facts = MachineSurvey(state: daemon.state, timeout: daemon.waiting.timeout).facts()
        let report = MachineReport(facts)
        print(json ? report.json : report.text)
        guard report.isGood else { throw ExitCode(1) }
    }

    private func look(at target: CheckTarget) throws -> ProcessCheck.Found {
        switch target {
        case .process(let id): try ProcessCheck(id: id).run()
        case .descriptor(let number):
            ProcessCheck.Found(subjects: [try subject(of: FileDescriptor(rawValue: number), fd: number)])
        case .path(let path): ProcessCheck.Found(subjects: [try subject(at: path)])
        }
    }

    private func subject(at path: String) throws -> CheckSubject {
        let file: OwnedDescriptor
        do {
            file = try openToLook(path)
        } catch {
            switch error.errno {
            case .permissionDenied, .notPermitted:
                throw Exit.permission("\(path) may not be opened for reading (\(error)): try as its owner, or as root")
            case .noSuchFileOrDirectory, .notDirectory:
                throw Exit.unavailable("\(path) cannot be opened: \(error); look whether the path is right")
            default: throw Exit.unavailable("\(path) cannot be opened: \(error)")
            }
        }
        return try subject(of: file.borrowed, fd: nil)
    }

    private func subject(of descriptor: FileDescriptor, fd: CInt?) throws -> CheckSubject {
        do {
            return try CheckSubject(descriptor, fd: fd)
        } catch {
            let remedy =
                error.errno == .badFileDescriptor ? "; let this command inherit it: luoctl check fd:3 3<FILE" : ""
            throw Exit.unavailable("descriptor \(descriptor.rawValue) cannot be looked at: \(error)\(remedy)")
        }
    }
}

/// The target of the check.
enum CheckTarget {
    case process(CInt)
    case descriptor(CInt)
    case path(String)

    init(_ text: String) throws {
        if text.hasPrefix("pid:") {
            self = .process(try Self.number(text.dropFirst(4), least: 1, of: "a process"))
        } else if text.hasPrefix("fd:") {
            self = .descriptor(try Self.number(text.dropFirst(3), least: 0, of: "a descriptor"))
        } else if !text.isEmpty, text.allSatisfy({ ("0"..."9").contains($0) }) {
            let number = try Self.number(text[...], least: 1, of: "a process")
            let isOurs = number >= 3 && FileDescriptor(rawValue: number).isInherited
            self = isOurs ? .descriptor(number) : .process(number)
        } else if text.isEmpty {
            throw ValidationError("an empty path is no file, process or descriptor")
        } else {
            self = .path(text)
        }
    }

    private static func number(_ text: Substring, least: CInt, of what: String) throws -> CInt {
        guard let number = CInt(text), number >= least, text.first != "+" else {
            throw ValidationError("\"\(text)\" is no number of \(what); a file of that name is ./\(text)")
        }
        return number
    }
}
