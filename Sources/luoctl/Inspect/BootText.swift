// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCommandLine

/// The sessions, files and FLBs of a boot, for people.
struct BootText {
    private let boot: InspectedBoot
    private let source: String

    /// Makes the text of a boot. `source` is the name of the part of the arena that describes the boot.
    init(_ boot: InspectedBoot, _ source: String) {
        self.boot = boot
        self.source = source
    }

    private var files: [(session: InspectedBoot.Session, file: InspectedBoot.File)] {
        boot.sessions.flatMap { session in session.files.map { (session, $0) } }
    }

    var text: String {
        var parts = ["\(source): \(boot.updates) updates so far" + (boot.phase.map { ", \($0)" } ?? "")]
        if !boot.sessions.isEmpty { parts.append(sessionTable) }
        if !files.isEmpty { parts.append(fileTable) }
        if !boot.flbs.isEmpty { parts.append(flbTable) }
        parts += files.compactMap { session, file in
            file.problem.map {
                "token \(file.token) of \(session.name.shown) was left out of the update: \($0.shown)"
            }
        }
        parts += files.compactMap { session, file in pageTable(file, session.name) }
        return parts.joined(separator: "\n\n")
    }

    private var sessionTable: String {
        var table = Table(["session", "direction", "progress", "files"])
        for session in boot.sessions {
            table.add([session.name.shown, session.direction, session.progress, "\(session.files.count)"])
        }
        return table.text
    }

    private var fileTable: String {
        var table = Table([
            "session", "token", "compatible", "size", "present", "pages", "position", "seals", "device", "inode",
            "slot", "retrieved", "FLBs", "data", "stored", "record", "path",
        ])
        for (session, file) in files {
            let name = [session.name.shown, "\(file.token)", file.compatible.shown]
            let place = ["\(file.device)", "\(file.inode)", "\(file.slot)", Self.retrieved(file.retrieveStatus)]
            let flbs = file.flbs.isEmpty ? "-" : file.flbs.joined(separator: " ").shown
            let record = file.failure != nil ? "DAMAGED" : file.pages == nil ? "not read" : "right"
            let kept = [flbs, "\(file.data)", Self.stored(file.stored), record, file.pages?.path?.shown ?? "-"]
            table.add(name + Self.pages(file.pages) + place + kept)
        }
        return table.text
    }

    private static func pages(_ pages: InspectedBoot.Pages?) -> [String] {
        guard let pages else { return ["-", "-", "-", "-", "-"] }
        return [
            ByteCount.text(pages.size), ByteCount.text(pages.present), ByteCount.text(pages.pageSize),
            "\(pages.position)", pages.seals.map { $0.isEmpty ? "none" : $0.joined(separator: "+") } ?? "-",
        ]
    }

    private var flbTable: String {
        var table = Table(["FLB", "direction", "files", "retrieved", "data", "stored"])
        for flb in boot.flbs {
            table.add([
                flb.compatible.shown, flb.discarded ? "discarded" : flb.direction, "\(flb.count)",
                Self.retrieved(flb.retrieveStatus), "\(flb.data)", Self.stored(flb.stored),
            ])
        }
        return table.text
    }

    private func pageTable(_ file: InspectedBoot.File, _ session: String) -> String? {
        guard let runs = file.pages?.runs else { return nil }
        var table = Table(["offset", "size", "first frame"])
        for run in runs {
            table.add(["\(run.offset)", "\(run.size)", run.frame.map { "0x" + String($0, radix: 16) } ?? "-"])
        }
        return "pages of token \(file.token) of \(session.shown):\n\(table.text)"
    }

    private static func retrieved(_ status: Int32) -> String {
        status == 0 ? "no" : status == 1 ? "yes" : "errno \(-Int64(status))"
    }

    private static func stored(_ ranges: [InspectedBoot.Stored]) -> String {
        if ranges.contains(where: { $0.failure != nil }) { return "DAMAGED" }
        return ranges.isEmpty ? "-" : "\(ranges.reduce(0) { $0 &+ $1.size }) bytes"
    }
}
