// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import LiveUpdateCommandLine
import LiveUpdatePlatform

/// A change of a pool, with the pool's state before and after.
struct Resize {
    let request: HugePageRequest
    let options: PoolOptions

    func run() throws {
        do throws(HugePageRefusal) {
            let plan = try request.plan()
            note(plan)
            if options.dryRun {
                print(options.json ? json(plan) : text(plan))
            } else {
                let change = try request.perform()
                print(options.json ? json(change) : text(change))
            }
        } catch {
            throw RefusalMessage(request, error).exitCode
        }
    }

    /// Prints the surprising effects of a plan before it is carried out.
    private func note(_ plan: HugePagePlan) {
        var notes: [String] = []
        if plan.count < request.count { notes.append("there is memory for \(plan.count) of \(request.count) pages") }
        if plan.adopted > 0 {
            notes.append("\(plan.adopted) of them are surplus pages, which are in use and become persistent")
        }
        if plan.becomingSurplus > 0 {
            notes.append(
                "\(plan.becomingSurplus) of them are in use or promised: they become surplus, and vanish when they are freed"
            )
        }
        for note in notes { Exit.say(note) }
    }

    private func pages(_ count: UInt64) -> String {
        let (bytes, size) = (ByteCount.text(count * request.size.bytes), request.size)
        return "\(count) pages of \(size) (\(bytes))" + (request.node.map { " on node \($0)" } ?? "")
    }

    // MARK: For people

    private func text(_ plan: HugePagePlan) -> String {
        let before = plan.pool.persistent
        let after = request.action == .reserve ? before + plan.count : before - plan.count
        return "would \(request.action) \(pages(plan.count)): \(before) → \(after) persistent; nothing was changed"
    }

    private func text(_ change: HugePageChange) -> String {
        var table = Table(["\(request.size) pages", "before", "", "after"])
        func add(_ name: String, _ before: UInt64, _ after: UInt64) {
            table.add([name, "\(before)", "→", "\(after)"])
        }
        add("persistent", change.before.persistent, change.after.persistent)
        add("free", change.before.free, change.after.free)
        add("reserved", change.before.reserved, change.after.reserved)
        add("surplus", change.before.surplus, change.after.surplus)
        for (before, after) in zip(change.before.nodes, change.after.nodes) {
            add("on node \(before.id)", before.persistent, after.persistent)
        }
        let done = request.action == .reserve ? "reserved" : "released"
        let asked = change.count < request.count ? ", of \(request.count)" : ""
        return "\(table.text)\n\n\(done) \(pages(change.count))\(asked)"
    }

    // MARK: For machines

    private struct Output: Encodable {
        var version = 1
        var action: String
        var node: Int?
        var asked: UInt64
        var count: UInt64
        var dryRun: Bool
        var becomingSurplus: UInt64?
        var before: PoolCounts
        var after: PoolCounts?
    }

    private func json(_ plan: HugePagePlan) -> String {
        jsonText(
            Output(
                action: request.action.rawValue, node: request.node, asked: request.count, count: plan.count,
                dryRun: true, becomingSurplus: plan.becomingSurplus, before: PoolCounts(plan.pool)))
    }

    private func json(_ change: HugePageChange) -> String {
        jsonText(
            Output(
                action: request.action.rawValue, node: request.node, asked: request.count, count: change.count,
                dryRun: false, before: PoolCounts(change.before), after: PoolCounts(change.after)))
    }
}
