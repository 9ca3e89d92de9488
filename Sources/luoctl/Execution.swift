import ArgumentParser
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
