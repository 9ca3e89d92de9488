// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCommandLine
import LiveUpdateKernel
import LiveUpdatePlatform
import SystemPackage

/// The result of the checks before a kexec, for people and for machines.
struct KexecReport {
    let situation: KexecSituation
    let preflight: KexecPreflight
    let isDryRun: Bool

    private var nextRelease: String? { (try? situation.next.file.get())?.image?.release }

    private var initrd: String? {
        switch situation.next.initrd {
        case .none: nil
        case .file(let path), .unreadable(let path, _): path.string
        case .missing(let places): places.first?.string
        }
    }

    // MARK: For people

    var text: String {
        var parts = [kernels]
        if !situation.regions.isEmpty { parts.append(regions) }
        if !situation.files.isEmpty { parts.append(files) }
        if !preflight.notes.isEmpty {
            parts.append(preflight.notes.map { "note: \($0.shown)" }.joined(separator: "\n"))
        }
        if !preflight.accepted.isEmpty { parts.append(Self.list("accepted:", preflight.accepted, Style.notice)) }
        if !preflight.problems.isEmpty { parts.append(Self.list("problems:", preflight.problems, Style.bad)) }
        if isDryRun {
            parts.append(
                preflight.problems.isEmpty
                    ? Style.good("the kernel can be replaced; nothing was changed") : "nothing was changed")
        }
        return parts.joined(separator: "\n\n")
    }

    private var kernels: String {
        """
        running:       \(situation.running.release.shown)
        next:          \((nextRelease ?? "unknown").shown)
        image:         \(situation.next.path.string.shown)
        initrd:        \((initrd ?? "none").shown)
        command line:  \(situation.next.commandLine.description.shown)
        """
    }

    private var regions: String {
        var table = Table(["region", "size", "used", "device"])
        for region in situation.regions {
            table.add([
                region.name.shown, ByteCount.text(region.size), region.isUsed ? "yes" : "no",
                region.devices.map(\.name).joined(separator: " ").shown,
            ])
        }
        return table.text
    }

    private var files: String {
        var table = Table(["session", "user", "token", "handler", "size", "carrier", "memory for it"])
        for file in situation.files {
            table.add([
                file.session.shown, "\(file.user)", file.token.shown, file.handler.shown,
                file.size.map(ByteCount.text) ?? "-", file.carrier.name, ByteCount.text(file.carrier.filled),
            ])
        }
        return table.text
    }

    private static func list(_ heading: String, _ problems: [KexecProblem], _ style: (String) -> String) -> String {
        ([heading] + problems.map { "  \(style($0.description.shown))" }).joined(separator: "\n")
    }

    // MARK: For machines

    var json: String {
        struct Output: Encodable {
            let version = 1
            let dryRun: Bool
            let running: String
            let next: String?
            let kernel: String
            let initrd: String?
            let commandLine: String
            let files: [KernelUpdateRecord.File]
            let problems: [KernelUpdateRecord.Problem]
            let accepted: [KernelUpdateRecord.Problem]
            let notes: [String]
        }
        return jsonText(
            Output(
                dryRun: isDryRun, running: situation.running.release, next: nextRelease,
                kernel: situation.next.path.string, initrd: initrd,
                commandLine: situation.next.commandLine.description, files: situation.files.map { .init($0) },
                problems: preflight.problems.map { .init($0) }, accepted: preflight.accepted.map { .init($0) },
                notes: preflight.notes))
    }
}
