import LiveUpdateDevice
import SystemPackage

/// Files that leave their session for the program that this process becomes.
///
/// This process has their descriptors, and is their only holder once they are unpreserved. So everything that can fail comes
/// before that, and nothing but execve(2) after it.
struct FileTaking {
    struct File {
        let token: UInt64
        let descriptor: FileDescriptor
        /// Preserved as a descriptor whose state is not known.
        let isHeld: Bool
    }

    private let session: DeviceSession
    private let files: [File]
    /// The first files, which have left their session.
    private var unpreserved = 0

    init(session: DeviceSession, files: [File]) {
        self.session = session
        self.files = files
    }

    /// Unpreserves all files, or none.
    ///
    /// - Throws: what luod answers; all files are in the session then. When luod has ended meanwhile, so that a file cannot
    ///   be put back, this returns: the program is the only one that can still hold that file.
    mutating func unpreserve() throws(LiveUpdateError) {
        for file in files {
            do throws(LiveUpdateError) {
                try session.unpreserve(token: file.token)
                unpreserved += 1
            } catch {
                guard unpreserved > 0, !putBack() else { throw error }
                Exit.say("the program gets all files: \(error)")
                return
            }
        }
    }

    /// Preserves files again that have left their session.
    ///
    /// - Returns: whether all files are in the session; those that are not are named on standard error.
    func putBack() -> Bool {
        var isComplete = true
        for file in files.prefix(unpreserved) {
            do throws(LiveUpdateError) {
                try preserve(file)
            } catch {
                isComplete = false
                Exit.say("token \(file.token) cannot be put back, and only this process has it: \(error)")
            }
        }
        return isComplete
    }

    private func preserve(_ file: File) throws(LiveUpdateError) {
        if file.isHeld {
            try session.preserveHeld(file.descriptor, token: file.token)
        } else {
            try session.preserve(file.descriptor, token: file.token)
        }
    }
}
