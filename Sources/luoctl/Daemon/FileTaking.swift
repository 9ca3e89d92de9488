// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import LiveUpdateCommandLine
import LiveUpdateDevice
import LiveUpdatePlatform
import SystemPackage

/// The files of `luoctl retrieve --take`, which leave their session for the program that this process becomes.
///
/// Once the files are unpreserved, only this process and a guard (``TakeGuard``) hold them. Everything that can fail
/// therefore comes before that step, and only execve(2) comes after it.
struct FileTaking: ~Copyable {
    struct File {
        let token: UInt64
        let descriptor: FileDescriptor
        /// Whether the file was preserved as a held descriptor.
        let isHeld: Bool
    }

    private let session: DeviceSession
    private let files: [File]
    /// Holds the files, too, until the program has them.
    private let guardian: TakeGuard
    /// The number of files that have left their session, from the first one on.
    private var unpreserved = 0

    /// - Throws: the errno of starting the guard, or of giving it the files.
    init(session: DeviceSession, files: [File], _ place: TakeGuard.Place) throws(LiveUpdateError) {
        self.session = session
        self.files = files
        guardian = try TakeGuard(files, place)
    }

    /// Unpreserves all files, or none.
    ///
    /// - Throws: the errno that luod answers; all files are in the session then. When luod has ended meanwhile, so that
    ///   a file cannot be put back, this returns instead: only the program can still hold that file.
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
                Exit.say("luod does not take the files back, so the program gets all of them: \(error)")
                return
            }
        }
    }

    /// Executes the program in this process.
    ///
    /// - Returns: only when the program cannot be executed. The files are in their session again then.
    func become(_ images: [ProgramImage], called name: String) -> ExitCode {
        guardian.execute(images)
        let code = Execution.become(images, called: name)
        guardian.failed()
        if putBack() { Exit.say("the files are in their session: take them with another program") }
        guardian.dismiss()
        return code
    }

    /// Puts the files that have left their session back by preserving them. Names each file that cannot be preserved on
    /// standard error.
    ///
    /// - Returns: whether all files are in the session.
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
