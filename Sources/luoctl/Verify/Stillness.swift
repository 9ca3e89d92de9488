// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage

/// Whether a file can change while its checksums are computed. The decision does no I/O.
enum Stillness: Equatable {
    /// The file cannot change: its seals forbid it, or all its holders are stopped.
    case still
    /// These processes may change the file.
    case changes([FileHolder])
    /// These processes, at which this user may not look, may change the file.
    case unknown([CInt])

    /// Decides. luod's own processes are not among the holders, because they do not write to files.
    init(_ seals: Seals, _ holders: FileHolders) {
        let hasFixedSize = seals.isSuperset(of: [.shrink, .grow])
        if hasFixedSize && seals.contains(.write) {
            self = .still
            return
        }
        // With this seal only older mappings can write.
        let onlyMappings = hasFixedSize && seals.contains(.futureWrite)
        let writers = holders.seen.filter { !$0.isStopped && ($0.isMapped || !onlyMappings) }
        self = writers.isEmpty ? (holders.unseen.isEmpty ? .still : .unknown(holders.unseen)) : .changes(writers)
    }

    /// The reason why the file may change, and the remedy; nil if it cannot.
    var refusal: (reason: String, remedy: String)? {
        switch self {
        case .still: nil
        case .changes(let writers):
            (
                "the file may change meanwhile: process "
                    + writers.prefix(3).map { "\($0.process) (\($0.command))" }.joined(separator: ", process ")
                    + (writers.count > 3 ? " and \(writers.count - 3) more" : "") + " has it open",
                "end it or stop it (kill -STOP \(writers[0].process)), or seal the file against writing and against "
                    + "another size (F_SEAL_WRITE, F_SEAL_SHRINK, F_SEAL_GROW)"
            )
        case .unknown(let processes):
            (
                "the file may change meanwhile: this user may not look at process \(processes[0])"
                    + (processes.count > 1 ? " and \(processes.count - 1) more" : "") + ", which may have it open",
                "run as root, which sees all processes of its own system; say --ignore-unseen if such processes do not "
                    + "have the file; or seal the file against writing and against another size "
                    + "(F_SEAL_WRITE, F_SEAL_SHRINK, F_SEAL_GROW)"
            )
        }
    }

    /// Looks whether a file can change.
    ///
    /// - Parameters:
    ///   - file: the file.
    ///   - subject: the words for the file in an error.
    ///   - luod: the status of luod. Its processes hold the file, too.
    ///   - ignoresUnseen: whether processes at which this user may not look do not count.
    /// - Throws: EBUSY with the reason when the file may change.
    static func check(
        _ file: FileDescriptor, _ subject: String, _ luod: LuodStatus, ignoresUnseen: Bool
    ) throws(LiveUpdateError) {
        // A file that cannot have seals has none.
        let seals = (try? file.seals()) ?? []
        // A file that no process can change, not even an unseen one, is sealed: it needs no search.
        if Stillness(seals, FileHolders(unseen: [1])) == .still { return }
        var holders: FileHolders
        do throws(SystemCallError) {
            holders = try FileHolders(of: try FileStatus(cached: file).identity, except: luod.ownProcesses)
        } catch {
            throw LiveUpdateError(error, "\(subject): looking for its holders")
        }
        if ignoresUnseen { holders.unseen = [] }
        guard let refusal = Stillness(seals, holders).refusal else { return }
        throw LiveUpdateError(.resourceBusy, "\(subject): \(refusal.reason)", remedy: refusal.remedy)
    }
}

extension LuodStatus {
    /// The processes of luod, and the image that a load has made ready.
    fileprivate var ownProcesses: Set<Int32> {
        var own = Set(daemon.processes.map(\.process))
        own.formUnion([daemon.keeper, daemon.orchestrator])
        if let ready = daemon.ready { own.insert(ready.process) }
        return own.subtracting([0])
    }
}
