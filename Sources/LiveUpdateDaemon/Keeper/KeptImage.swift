// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage

/// A program that can be started again even if its file is replaced or removed. The file stays open, so that a crash
/// restarts the same program. A package that is replaced meanwhile comes into use with an update or a reload, and not
/// by a crash.
final class KeptImage {
    /// The path at which it was found.
    let path: String
    let file: OwnedDescriptor
    /// The descriptor number under which a new process finds the file.
    private let number: SpawnNumber?

    /// A program with an open file.
    init(_ path: String, _ file: consuming OwnedDescriptor) {
        self.path = path
        number = SpawnNumber(file.borrowed)
        self.file = file
    }

    /// The program at a path.
    ///
    /// - Throws: ENOENT, EACCES.
    convenience init(at path: String) throws(SystemCallError) { self.init(path, try findFileBehind(path)) }

    /// The program that this process runs.
    static func own() throws(SystemCallError) -> KeptImage {
        KeptImage(ProgramImage.ownPath().string, try findFileBehind("/proc/self/exe"))
    }

    /// The path to execute. This is the program's own path as long as it leads to the same file, so that the process
    /// has that name.
    var executable: String {
        let kept = try? FileStatus(of: file.borrowed).identity
        let found = try? FileStatus(at: path).identity
        return found != nil && found == kept ? path : "/proc/self/fd/\((number?.descriptor ?? file.borrowed).rawValue)"
    }
}
