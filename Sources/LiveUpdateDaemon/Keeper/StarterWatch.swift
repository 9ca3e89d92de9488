// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform
import SystemPackage

/// Watches the process that has started a private luod (`luoctl run`), until that process becomes its program or ends.
/// Such a luod ends with the last process under its filter.
final class StarterWatch {
    /// A pipe. The starter holds the other end.
    private static let descriptor = FileDescriptor(rawValue: 0)

    /// Whether luod ends when it is unused.
    private let isAwaited: Bool
    private let children: ChildPoller
    /// Whether the starter has ended or become its program.
    private(set) var hasGone: Bool

    /// Watches the starter of a luod that ends when unused, unless the starter has gone.
    ///
    /// - Throws: ENOSPC.
    init(isAwaited: Bool, hasGone: Bool, _ children: ChildPoller) throws(SystemCallError) {
        self.isAwaited = isAwaited
        self.hasGone = hasGone
        self.children = children
        if isAwaited, !hasGone { try children.add(Self.descriptor) }
    }

    /// Whether a descriptor is the one that reports the starter's end.
    func isEnding(_ number: CInt) -> Bool { number == Self.descriptor.rawValue }

    /// Notes the end of the starter.
    func noteEnd() {
        children.remove(Self.descriptor)
        hasGone = true
    }

    /// Whether luod must end, because neither the starter nor a program is left.
    func isUnused(_ vault: DescriptorVault) -> Bool { isAwaited && hasGone && vault.programs.isEmpty }
}
