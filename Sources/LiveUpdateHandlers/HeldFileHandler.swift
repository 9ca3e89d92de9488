// SPDX-License-Identifier: Apache-2.0
public import LiveUpdateCore
import LiveUpdatePlatform
public import SystemPackage

/// Holds any other descriptor over an update, and knows nothing of the state of its file: a tap, an eventfd, a
/// listening socket, a vfio or iommufd device. A client must ask for this handler by its ``compatible`` string.
///
/// The same file can be preserved again, by this handler or by another. The kernel gives eventfds and their like no
/// inode of their own, so the identity of such a file is a random number that is chosen when it is preserved.
public final class HeldFileHandler: FileHandler {
    /// The compatible string, with which a client asks for a held descriptor.
    public static let format = "held-fd-v1"
    public let compatible = HeldFileHandler.format
    public let isOnlyOnRequest = true
    public let holdsFile = false

    /// Makes the handler. It has no state.
    public init() {}

    public func canPreserve(_ descriptor: FileDescriptor) -> Acceptance { .accepted }

    public func identity(of descriptor: FileDescriptor) -> FileIdentity? {
        guard Self.hasNoInode(descriptor) else { return try? FileStatus(cached: descriptor).identity }
        return FileIdentity(device: Self.noDevice, inode: .random(in: 0 ... .max))
    }

    public func recognizes(_ descriptor: FileDescriptor, as identity: FileIdentity) -> Bool? {
        let hasNone = Self.hasNoInode(descriptor)
        guard hasNone == (identity.device == Self.noDevice) else { return false }
        // Another process cannot tell such a file from others of its kind. The slot identifies it.
        return hasNone ? true : try? FileStatus(cached: descriptor).identity == identity
    }

    /// The device in the identity of a file without an inode. No such device exists.
    private static let noDevice = UInt64.max

    /// Whether the file has no inode of its own. Its name in /proc tells.
    private static func hasNoInode(_ descriptor: FileDescriptor) -> Bool {
        (try? descriptor.path().string.hasPrefix("anon_inode:")) ?? false
    }

    public func preserve(_ file: FileContext) throws(LiveUpdateError) -> UInt64 { 0 }

    public func unpreserve(_ file: FileContext) {}

    public func retrieve(_ file: FileContext) throws(LiveUpdateError) -> RetrievedFile {
        guard file.descriptor != nil else {
            throw LiveUpdateError(
                .badFileDescriptor, "the descriptor of token \(file.token) is gone with the last process that held it",
                remedy: "open it again")
        }
        return .kept
    }

    public func finish(_ file: FileContext) {}
}
