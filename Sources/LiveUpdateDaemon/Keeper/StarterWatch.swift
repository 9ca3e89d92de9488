import Platform
import SystemPackage

/// The process that has started a private luod (`luoctl run`), until it has become its program or ended. Such a luod
/// ends with the last process under its filter.
final class StarterWatch {
    /// A pipe. The starter has its other end.
    private static let descriptor = FileDescriptor(rawValue: 0)

    /// Whether luod ends when it is unused.
    private let isAwaited: Bool
    private let children: ChildPoller
    /// Whether the starter has ended, or become its program.
    private(set) var hasGone: Bool

    /// Watches the starter of a luod that ends unused, unless it has gone.
    ///
    /// - Throws: ENOSPC.
    init(isAwaited: Bool, hasGone: Bool, _ children: ChildPoller) throws(SystemCallError) {
        self.isAwaited = isAwaited
        self.hasGone = hasGone
        self.children = children
        if isAwaited, !hasGone { try children.add(Self.descriptor) }
    }

    /// Whether a descriptor tells of the end of the starter.
    func isEnding(_ number: CInt) -> Bool { number == Self.descriptor.rawValue }

    /// Takes note of the end of the starter.
    func noteEnd() {
        children.remove(Self.descriptor)
        hasGone = true
    }

    /// Whether luod is to end, because neither the starter nor a program is left.
    func isUnused(_ vault: DescriptorVault) -> Bool { isAwaited && hasGone && vault.programs.isEmpty }
}
