import LiveUpdateDevice

/// The lines that name what an update cost. An answer of luod holds 4 KiB, and says how many lines did not fit: the status has
/// them all. That of before the update has the sessions that were discarded, and that of after it the files that were left out.
struct UpdateRemarks {
    private let said: [String]

    init(_ answer: String) { said = answer.split(separator: "\n").map(String.init) }

    /// All lines, each once. Where the status has fewer than luod counted, the last line says how many are missing.
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
        let rest = others.count < missing ? ["and \(missing - others.count) more: the log of luod names them"] : []
        return shown + others + rest
    }
}
