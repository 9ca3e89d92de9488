public import LiveUpdate
import Platform
public import SystemPackage

/// Keeps any other descriptor open over an update, without knowing anything of its state: a tap, an eventfd, a listening
/// socket, a vfio or iommufd device. Only for who asks for it by its ``compatible`` string.
///
/// The same file can be preserved again, by this handler or by another. The kernel gives eventfds and their like no
/// inode of their own, so the identity of such a file is a random number that is chosen when it is preserved.
public final class HeldFileHandler: FileHandler {
    /// What a program asks for that wants a descriptor to be held.
    public static let format = "held-fd-v1"
    public let compatible = HeldFileHandler.format
    public let isOnlyOnRequest = true
    public let holdsFile = false

    /// Makes the handler; it keeps nothing.
    public init() {}

    public func canPreserve(_ descriptor: FileDescriptor) -> Acceptance { .accepted }

    public func identity(of descriptor: FileDescriptor) -> FileIdentity? {
        guard Self.hasNoInode(descriptor) else { return try? FileStatus(cached: descriptor).identity }
        return FileIdentity(device: Self.noDevice, inode: .random(in: 0 ... .max))
    }

    public func recognizes(_ descriptor: FileDescriptor, as identity: FileIdentity) -> Bool? {
        let hasNone = Self.hasNoInode(descriptor)
        guard hasNone == (identity.device == Self.noDevice) else { return false }
        // Nothing tells it from others of its kind, in another process: its slot does.
        return hasNone ? true : try? FileStatus(cached: descriptor).identity == identity
    }

    /// There is no such device.
    private static let noDevice = UInt64.max

    /// By the name that /proc has for it.
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
