import ArgumentParser
import LiveUpdateDevice
import Platform
import SystemPackage

/// Files that leave their session for the program that this process becomes.
///
/// This process has their descriptors, and is their only holder once they are unpreserved, but for a guard (``TakeGuard``). So
/// everything that can fail comes before that, and nothing but execve(2) after it.
struct FileTaking: ~Copyable {
    struct File {
        let token: UInt64
        let descriptor: FileDescriptor
        /// Preserved as a descriptor whose state is not known.
        let isHeld: Bool
    }

    private let session: DeviceSession
    private let files: [File]
    /// Has the files, too, until the program has them.
    private let guardian: TakeGuard
    /// The first files, which have left their session.
    private var unpreserved = 0

    /// - Throws: when another process cannot hold the files meanwhile.
    init(session: DeviceSession, files: [File], _ place: TakeGuard.Place) throws(LiveUpdateError) {
        self.session = session
        self.files = files
        guardian = try TakeGuard(files, place)
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
                guard unpreserved > 0, !putBack() else {
                    guardian.dismiss()
                    throw error
                }
                Exit.say("the program gets all files: \(error)")
                return
            }
        }
    }

    /// Becomes the program.
    ///
    /// - Returns: only when it cannot be executed, with the files in their session again.
    func become(_ images: [ProgramImage], called name: String) -> ExitCode {
        guardian.execute(images)
        let code = Execution.become(images, called: name)
        guardian.failed()
        if putBack() { Exit.say("the files are in their session: take them with another program") }
        guardian.dismiss()
        return code
    }

    /// Preserves files again that have left their session.
    ///
    /// - Returns: whether all files are in the session; those that are not are named on standard error.
    private func putBack() -> Bool {
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
