// SPDX-License-Identifier: Apache-2.0
package import LiveUpdateCore
package import LiveUpdatePlatform
package import SystemPackage

/// Holds descriptors in the process itself. The next image inherits them over execve(2), which changes no number, so a
/// slot is the number of the held copy.
package final class InheritedDescriptors: DescriptorStore {
    /// The lowest number of a held copy. Programs like to reuse the lower numbers.
    private static let lowest: CInt = 64

    /// Makes a store that holds nothing.
    package init() {}

    package func identify(_ descriptor: FileDescriptor) throws(LiveUpdateError) -> FileIdentity {
        do {
            return try FileStatus(of: descriptor).identity
        } catch {
            throw LiveUpdateError(error, "descriptor \(descriptor.rawValue)")
        }
    }

    package func keep(_ descriptor: FileDescriptor) throws(LiveUpdateError) -> DescriptorSlot {
        do {
            return DescriptorSlot(Int64(try descriptor.duplicated(from: Self.lowest).release().rawValue))
        } catch {
            // With a limit that is no higher than `lowest`, fcntl(2) returns EINVAL.
            let error = error.errno == .invalidArgument ? SystemCallError(error.call, .tooManyOpenFiles) : error
            throw LiveUpdateError(error, "keeping descriptor \(descriptor.rawValue)")
        }
    }

    package func descriptor(in slot: DescriptorSlot) -> FileDescriptor? {
        guard let number = CInt(exactly: slot.number), number >= 0 else { return nil }
        return FileDescriptor(rawValue: number)
    }

    package func release(_ slot: DescriptorSlot) {
        // The descriptor is closed even when close(2) returns an error.
        if let kept = descriptor(in: slot) { try? closeDescriptor(kept) }
    }
}
