import ArgumentParser
import Glibc
import Platform
import SystemPackage

/// This process becomes another program, which is found as shells find it.
enum Execution {
    /// Where a program may be: with a slash in its name it is a path, without it is searched for in PATH.
    static func places(of program: String) -> [String] {
        if program.contains("/") { return [program] }
        let path = environmentVariable("PATH") ?? "/usr/local/bin:/usr/bin:/bin"
        let directories = path.split(separator: ":", omittingEmptySubsequences: false)
        return directories.map { $0.isEmpty ? program : "\($0)/\(program)" }
    }

    /// What a command line that ends with a program and its arguments may mean.
    static func images(_ command: [String]) -> [ProgramImage] {
        places(of: command[0]).map { place in
            var image = ProgramImage(path: place, arguments: command)
            image.ownArguments = command.count
            return image
        }
    }

    /// Why none of these can be executed, as far as can be seen before: the exit code of shells.
    static func obstacle(_ images: [ProgramImage]) -> (code: ExitCode, errno: Errno)? {
        var found = Errno.noSuchFileOrDirectory
        for image in images {
            guard let status = try? FileStatus(at: image.path) else { continue }
            if status.isRegular, unsafe access(image.path, X_OK) == 0 { return nil }
            found = .permissionDenied
        }
        return (ExitCode(found == .noSuchFileOrDirectory ? 127 : 126), found)
    }

    /// Becomes the first of these that can be executed: execve(2).
    ///
    /// - Parameter remedy: said when there is none.
    /// - Returns: only then: 127, or 126 when there is one that cannot be executed, as shells do.
    static func become(_ images: [ProgramImage], called name: String, remedy: String? = nil) -> ExitCode {
        // What is ignored stays so over execve(2).
        Inherited.restore()
        var failure = Errno.noSuchFileOrDirectory
        for image in images {
            do throws(SystemCallError) {
                try image.execute()
            } catch {
                if error.errno != .noSuchFileOrDirectory { failure = error.errno }
            }
        }
        Exit.say("\(name): \(failure)\(remedy.map { "; \($0)" } ?? "")")
        return ExitCode(failure == .noSuchFileOrDirectory ? 127 : 126)
    }
}
