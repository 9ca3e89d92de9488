public import LiveUpdate
import Platform
public import SystemPackage

/// Keeps any other descriptor open over an update, without knowing anything of its state: a tap, an eventfd, a listening
/// socket, a vfio or iommufd device. Only for who asks for it by its ``compatible`` string.
///
/// What the kernel gives no inode of its own (eventfds and their like share one) counts as another file each time that it
/// is preserved.
public final class HeldFileHandler: FileHandler {
    /// What a program asks for that wants a descriptor to be held.
    public static let format = "held-fd-v1"
    public let compatible = HeldFileHandler.format
    public let isOnlyOnRequest = true

    /// Makes the handler; it keeps nothing.
    public init() {}

    public func canPreserve(_ descriptor: FileDescriptor) -> Acceptance { .accepted }

    /// The name that /proc has for it: only what has an inode of its own is told apart by it.
    public func identity(of descriptor: FileDescriptor) -> FileIdentity? {
        guard let status = try? FileStatus(of: descriptor), let name = try? descriptor.path().string else { return nil }
        guard name.hasPrefix("anon_inode:") else { return status.identity }
        // Not a device that there is: and the descriptor that is looked at is told from those that are kept already.
        return FileIdentity(
            device: .max, inode: UInt64(UInt32(bitPattern: descriptor.rawValue)) << 32 | status.identity.inode)
    }

    public func preserve(_ file: FileContext) throws(LiveUpdateError) -> UInt64 { 0 }

    public func unpreserve(_ file: FileContext) {}

    public func retrieve(_ file: FileContext) throws(LiveUpdateError) -> RetrievedFile {
        guard file.descriptor != nil else {
            throw LiveUpdateError(
                .badFileDescriptor, "the descriptor of token \(file.token) is gone with the last process that held it",
                remedy: "open it anew")
        }
        return .kept
    }

    public func finish(_ file: FileContext) {}
}
