// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Glibc
import LiveUpdateCommandLine
import LiveUpdatePlatform
import SystemPackage

/// Replaces this process with another program, which is searched for as shells do.
enum Execution {
    /// The possible paths of a program. A name with a slash is a path; another name is searched for in PATH.
    static func places(of program: String) -> [String] {
        if program.contains("/") { return [program] }
        let path = environmentVariable("PATH") ?? "/usr/local/bin:/usr/bin:/bin"
        let directories = path.split(separator: ":", omittingEmptySubsequences: false)
        return directories.map { $0.isEmpty ? program : "\($0)/\(program)" }
    }

    /// The possible images of a command line that consists of a program and its arguments.
    static func images(_ command: [String]) -> [ProgramImage] {
        places(of: command[0]).map { place in
            var image = ProgramImage(path: FilePath(place), arguments: command)
            image.ownArguments = command.count
            return image
        }
    }

    /// The possible images of a command line, if one of them can be executed as far as it is known in advance.
    ///
    /// - Parameters:
    ///   - command: the program and its arguments.
    ///   - consequence: the effect on the user's files if none can, for the message.
    /// - Returns: the images, of which the first that can be executed is meant.
    /// - Throws: the exit code of shells: 127 if none exists, otherwise 126.
    static func images(_ command: [String], otherwise consequence: String) throws -> [ProgramImage] {
        let images = images(command)
        if let obstacle = obstacle(images) {
            Exit.say("\(command[0]): \(obstacle.errno); \(consequence)")
            throw obstacle.code
        }
        return images
    }

    /// The reason if none of the images can be executed, as far as it is known in advance, with the exit code of
    /// shells.
    static func obstacle(_ images: [ProgramImage]) -> (code: ExitCode, errno: Errno)? {
        var found = Errno.noSuchFileOrDirectory
        for image in images {
            guard let status = try? FileStatus(at: image.path.string) else { continue }
            if status.isRegular, unsafe access(image.path.string, X_OK) == 0 { return nil }
            found = .permissionDenied
        }
        return (ExitCode(found == .noSuchFileOrDirectory ? 127 : 126), found)
    }

    /// Executes the first image that can be executed: execve(2). If no image can be executed, a message says why, and
    /// has `remedy` as its advice.
    ///
    /// - Returns: only if no image can be executed: 127 if none exists, otherwise 126, as shells do.
    static func become(_ images: [ProgramImage], called name: String, remedy: String? = nil) -> ExitCode {
        // An ignored signal stays ignored over execve(2).
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
