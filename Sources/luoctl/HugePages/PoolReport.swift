// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCommandLine
import LiveUpdatePlatform

/// The pools and the holders of their pages, for people.
struct PoolReport {
    let pools: [HugePagePool]
    let holders: HugePageHolders
    /// The sessions and tokens of the files that luod holds.
    var sessions = HeldFileNames(nil)

    var text: String {
        if pools.isEmpty { return "this kernel has no huge pages" }
        var parts = [poolTable]
        if !holders.holders.isEmpty { parts.append(holderTable) }
        if !holders.unopened.isEmpty { parts.append("files that no process has open:\n" + unopenedTable) }
        if !reservations.isEmpty { parts.append("reserved, and not touched:\n" + reservationTable) }
        parts.append(account)
        return parts.joined(separator: "\n\n")
    }

    private var poolTable: String {
        var table = Table(["pages", "node", "total", "persistent", "free", "reserved", "surplus", "overcommit"])
        for pool in pools {
            table.add([
                pool.pageSize.description, "all", "\(pool.total)", "\(pool.persistent)", "\(pool.free)",
                "\(pool.reserved)", "\(pool.surplus)", "\(pool.overcommit)",
            ])
            for node in pool.nodes {
                table.add([
                    pool.pageSize.description, "\(node.id)", "\(node.total)", "\(node.persistent)", "\(node.free)", "-",
                    "\(node.surplus)", "-",
                ])
            }
        }
        return table.text
    }

    private var holderTable: String {
        let isNamed = !sessions.isEmpty
        var table = Table(["pid", "command", "holds", "pages", "bytes"] + (isNamed ? ["session"] : []) + ["file"])
        for holder in holders.holders {
            func add(_ what: String, _ size: PageSize, _ bytes: UInt64, _ file: FileIdentity, _ path: String) {
                let name = isNamed ? [sessions.name(of: file)?.text ?? "-"] : []
                table.add(
                    ["\(holder.process)", holder.command.shown, what, size.description, ByteCount.text(bytes)] + name
                        + [path.shown])
            }
            for file in holder.mapped { add("mapped", file.pageSize, file.bytes, file.identity, file.path) }
            for open in holder.open {
                let file = open.file
                add("fd \(open.descriptor)", file.pageSize, file.allocated, file.identity, file.path)
            }
        }
        return table.text
    }

    // MARK: Reservations

    /// The lines of the table: process, command, page size, bytes, and the file or mount.
    private var reservations: [[String]] {
        let mappings = holders.holders.flatMap { holder in
            holder.mapped.filter { $0.reserved > 0 }.map { file in
                [
                    "\(holder.process)", holder.command.shown, file.pageSize.description, ByteCount.text(file.reserved),
                    file.isShared ? file.path.shown : "private mapping",
                ]
            }
        }
        let mounts = holders.reservingMounts.map { mount in
            [
                "-", "-", mount.pageSize.description, ByteCount.text(mount.unused),
                "the mount \(mount.point.shown), min_size=\(ByteCount.text(mount.least))",
            ]
        }
        return mappings + mounts
    }

    private var reservationTable: String {
        var table = Table(["pid", "command", "pages", "bytes", "by"])
        for line in reservations { table.add(line) }
        return table.text
    }

    private var reservedLines: [String] {
        pools.filter { $0.reserved > 0 }.map { pool in
            let found = holders.reservedPages(of: pool.pageSize)
            let rest = Int64(pool.reserved) - Int64(found.mappings) - Int64(found.mounts)
            let difference =
                rest > 0
                ? ", \(rest) unexplained: in processes of other users, or of a file that was mapped and no longer is"
                : rest < 0 ? "; that is \(-rest) more than the pool says" : ""
            return
                "\(pool.pageSize): \(pool.reserved) reserved: \(found.mappings) by mappings, \(found.mounts) by mounts"
                + difference
        }
    }

    private var unopenedTable: String {
        var table = Table(["pages", "bytes", "file"])
        for file in holders.unopened {
            table.add([file.pageSize.description, ByteCount.text(file.allocated), file.path.shown])
        }
        return table.text
    }

    // MARK: Holders

    private var account: String {
        var lines: [String] = []
        for pool in pools where pool.inUse > 0 || holders.pages(of: pool.pageSize).accountedFor > 0 {
            let pages = holders.pages(of: pool.pageSize)
            lines.append(
                "\(pool.pageSize): \(pool.inUse) in use: \(pages.held) in files that are open or mapped, "
                    + "\(pages.anonymous) in private mappings, \(pages.unopened) in files that no process has open"
                    + difference(pool, pages))
        }
        if lines.isEmpty { lines.append("no page is in use") }
        return (lines + reservedLines + hidden).joined(separator: "\n")
    }

    private func difference(_ pool: HugePagePool, _ pages: HugePageHolders.Pages) -> String {
        switch pool.unexplained(pages) {
        case 0: ""
        case let more where more > 0:
            ", \(more) unexplained: in processes of other users, on their way through a socket, in a System V segment "
                + "that no process has attached, or on a mount of another mount namespace"
        case let less: "; that is \(-less) more than the pool says: it changed meanwhile"
        }
    }

    private var hidden: [String] {
        var lines: [String] = []
        let count = holders.hiddenProcesses.count
        if count > 0 { lines.append("not looked at: \(count) processes that only root may look at") }
        lines += holders.hiddenDirectories.map { "not looked at: \($0), which cannot be read" }
        return lines
    }
}

extension HugePagePool {
    var inUse: UInt64 { total - min(free, total) }

    /// The number of pages in use without a known holder; negative if the holders have more pages than are in use.
    func unexplained(_ pages: HugePageHolders.Pages) -> Int64 { Int64(inUse) - Int64(pages.accountedFor) }
}
