// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateMachine

/// Texts about the cost of an update: the files that it leaves out, the sessions that it loses, and the clients that
/// were not ready.
enum UpdateCost {
    /// The room for the text of an ``UpdateCall``, in bytes without the NUL at its end.
    static let room = 4095

    static func line(_ obstacle: FreezeObstacle) -> String { place(obstacle) + obstacle.reason }

    /// The beginning of the line, which names the file.
    static func place(_ obstacle: FreezeObstacle) -> String {
        "user \(obstacle.user), session \"\(obstacle.session)\", token \(obstacle.token): "
    }

    /// One line for an incoming session that is lost, and one for each of its files.
    static func lines(_ session: Status.Session) -> [String] {
        let name = "user \(session.holder.user), session \"\(session.name)\""
        return ["\(name): unfinished"]
            + session.files.map { "\(name), token \($0.token): \($0.compatible), unfinished" }
    }

    static func refusal(_ obstacles: [FreezeObstacle]) -> String {
        refusal(
            obstacles, "cannot be frozen", "mend or remove them, or go on without them (luoctl update --leave-out)")
    }

    /// The refusal of an update that replaces the kernel: all files that end with the kernel or cannot be frozen.
    static func kernelRefusal(_ obstacles: [FreezeObstacle]) -> String {
        refusal(
            obstacles, "cannot go to the next kernel",
            "put the memory on DAX (luoctl dax plan), unpreserve it, or lose it (luoctl kexec --leave-behind)")
    }

    private static func refusal(_ obstacles: [FreezeObstacle], _ what: String, _ remedy: String) -> String {
        let count = obstacles.count == 1 ? "1 file" : "\(obstacles.count) files"
        let remedy = "remedy: \(remedy)"
        let head = "\(count) \(what):"
        let room = room - head.utf8.count - remedy.utf8.count - 2
        return [head, text(obstacles.map(line), room: room), remedy].joined(separator: "\n")
    }

    /// The refusal of an update because subscribers were not ready in time. There is a line for each of them.
    /// `patience` is the time for which the update has waited, in nanoseconds.
    static func notReady(_ lines: [String], within patience: UInt64) -> UpdateRefusal {
        let count = lines.count == 1 ? "1 client was" : "\(lines.count) clients were"
        let head = "\(count) not ready for the update within \(patience / 1_000_000) ms:"
        let remedy =
            "remedy: wait longer (luoctl update --patience-ready), or go on without them (luoctl update --without-ready)"
        let room = room - head.utf8.count - remedy.utf8.count - 2
        let text = text(lines, room: room, place: "the log of luod names")
        return UpdateRefusal(.notReady, [head, text, remedy].joined(separator: "\n"))
    }

    /// As many lines as fit into the room. If some do not fit, the last line gives their number, and the place that has
    /// them.
    static func text(_ lines: [String], room: Int, place: String = "luoctl status shows") -> String {
        let whole = lines.joined(separator: "\n")
        if whole.utf8.count <= room { return whole }
        var text = ""
        for (index, line) in lines.enumerated() {
            let more = "and \(lines.count - index) more: \(place) them"
            let next = "\(text)\(line)\n"
            // The number in the last line only falls, so that line never needs more room later.
            guard next.utf8.count + more.utf8.count <= room else { return text + more }
            text = next
        }
        return text
    }
}
