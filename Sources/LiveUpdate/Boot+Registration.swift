import Platform

/// Handlers and FLBs come and go while nobody is inside.
extension Boot {
    /// Registers before the first open as well as after it.
    func change(
        _ body: (inout Registry, (String) -> Int) throws(LiveUpdateError) -> Void
    ) throws(LiveUpdateError) {
        try gate.enter(.exclusive) { () throws(LiveUpdateError) in
            try shared.with { (shared) throws(LiveUpdateError) in
                if case .published = shared.status {
                    throw Self.ended
                }
                let state = shared.state
                try body(&shared.registry) { state.fileCount(ofHandler: $0) }
            }
        }
    }
}
