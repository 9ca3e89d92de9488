import LiveUpdateDevice

/// The lines that name the cost of an update. An answer of luod holds 4 KiB, and says how many lines did not fit: the status has
/// them all. The status of before the update has the sessions that were discarded, and the status of after it the files that
/// were left out.
struct UpdateRemarks {
    private let said: [String]

    init(_ answer: String) { said = answer.split(separator: "\n").map(String.init) }

    /// All lines, each once. If the status has fewer lines than luod counted, the last line says how many are missing. If it
    /// has more, clients have ended some of these sessions after the status was read, and the last line says how many lines
    /// are about them: the list is complete in each case.
    ///
    /// - Parameters:
    ///   - discarded: the lines of the sessions that the update discarded, and of their files. It is called only when lines are
    ///     missing, as is `leftOut`.
    ///   - leftOut: those of the files that the update left out.
    func completed(discarded: () -> [String], leftOut: () -> [String]) -> [String] {
        guard let last = said.last, let missing = ObstacleList.missing(last) else { return said }
        let shown = Array(said.dropLast())
        // luod names files that were left out before what was discarded.
        let all = leftOut() + discarded()
        if all.count == shown.count + missing { return all }
        let named = Set(shown)
        let others = all.filter { !named.contains($0) }
        return shown + others + remark(others.count, missing)
    }

    private func remark(_ found: Int, _ missing: Int) -> [String] {
        if found < missing { return ["and \(missing - found) more: the log of luod names them"] }
        if found > missing {
            return [
                "\(found - missing) of these lines are about sessions that ended before the update: see the log of luod"
            ]
        }
        return []
    }
}
