import Platform
import SystemPackage

/// A luod that `luoctl run` starts for its program alone: it ends with the last process of that program's.
extension KeeperProcess {
    /// A pipe, whose other end is with whoever started it until that has become the program.
    static let starter = FileDescriptor(rawValue: 0)

    func loseStarter() throws {
        children.remove(Self.starter)
        hasLostStarter = true
        // What it asked for before is known by then.
        try readCurrent()
        endIfUnused()
    }

    func endIfUnused() {
        guard settings.endsUnused, hasLostStarter, !table.all.contains(where: { $0.keep.kind == .program }) else {
            return
        }
        stop()
    }
}
