// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform

/// The memory files that the kernel's session needs, compared with those that it has. This type does no I/O.
///
/// The kernel gets the files early, while clients are served. Until luod publishes, clients preserve other files and
/// unpreserve these. So luod looks at its files again directly before it publishes. Files that are gone stay in the
/// kernel's session, where a file cannot be unpreserved alone, and the list of descriptors does not name them.
struct KernelSelection: Equatable, Sendable {
    /// A slot with a memory file.
    struct File: Equatable, Sendable {
        var slot: DescriptorSlot
        var identity: FileIdentity
    }

    /// A file that the kernel must still get, with its new token.
    struct Gift: Equatable, Sendable {
        /// The index of the first slot with the file, among the files that luod has.
        var index: Int
        var identity: FileIdentity
        var token: UInt64
    }

    /// The files that the kernel must still get, each once, in the order of the slots.
    let gifts: [Gift]

    /// Compares the files that luod has with those that the kernel's session has.
    ///
    /// - Parameters:
    ///   - files: the files that luod has.
    ///   - given: the tokens of the files that the kernel's session has.
    ///   - leftOut: the files that the kernel does not take, and that the update goes on without.
    ///   - lastToken: the highest token that was used. A token is never used again, because the session may still have
    ///     the earlier file.
    init(_ files: [File], given: [FileIdentity: UInt64], leftOut: Set<FileIdentity>, lastToken: UInt64) {
        var seen = leftOut
        var token = lastToken
        var gifts: [Gift] = []
        for (index, file) in files.enumerated() where given[file.identity] == nil {
            guard seen.insert(file.identity).inserted else { continue }
            token += 1
            gifts.append(Gift(index: index, identity: file.identity, token: token))
        }
        self.gifts = gifts
    }

    /// The slots of the files that the kernel's session has, with their tokens.
    static func carried(
        _ files: [File], given: [FileIdentity: UInt64]
    ) -> [(slot: DescriptorSlot, token: UInt64)] {
        files.compactMap { file in given[file.identity].map { (file.slot, $0) } }
    }
}
