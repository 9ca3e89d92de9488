import LiveUpdate
import Platform
import SystemPackage

/// A program that can be started again whatever becomes of its file. The file stays open, and only the program that has
/// run is started again. A package that is replaced meanwhile comes in with an update or a reload, and not by a crash.
final class KeptImage {
    /// Where it was found.
    let path: String
    let file: OwnedDescriptor
    /// The number by which a new process finds the file.
    private let number: SpawnNumber?

    /// A program with an open file.
    init(_ path: String, _ file: consuming OwnedDescriptor) {
        self.path = path
        number = SpawnNumber(file.borrowed)
        self.file = file
    }

    /// What a path leads to now.
    ///
    /// - Throws: ENOENT, EACCES.
    convenience init(at path: String) throws(SystemCallError) { self.init(path, try findFileBehind(path)) }

    /// The program that this process runs.
    static func own() throws(SystemCallError) -> KeptImage {
        KeptImage(ownExecutable(), try findFileBehind("/proc/self/exe"))
    }

    /// What to execute: by its path while that still leads to it, so that the process has its name.
    var executable: String {
        let kept = try? FileStatus(of: file.borrowed).identity
        let found = try? FileStatus(at: path).identity
        return found != nil && found == kept ? path : "/proc/self/fd/\((number?.descriptor ?? file.borrowed).rawValue)"
    }
}
