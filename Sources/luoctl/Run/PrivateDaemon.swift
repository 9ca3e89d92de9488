// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Glibc
import LiveUpdateCommandLine
import LiveUpdatePlatform
import SystemPackage

/// A luod for one program, on a state of its own, which ends with the program's last process.
///
/// It is not a child of the program, and the program sees nothing of it. A pipe makes it wait until this process has
/// become the program or has ended.
final class PrivateDaemon {
    let state: String
    private let life: FileDescriptor

    init(_ kernel: String?) throws {
        let (image, state) = (try Self.image(), try Self.makeState())
        self.state = state
        let arguments = ["luod", "--state", state, "--until-unused"] + (kernel.map { ["--as-kernel", $0] } ?? [])
        let program = ProgramImage(
            path: FilePath(image), arguments: arguments, environment: Self.environment(ProgramImage.ownEnvironment()))
        do {
            let ends = try Self.start(program)
            life = ends.life
            defer { try? closeDescriptor(ends.output) }
            try Self.waitUntilReady(ends.output, image)
        } catch {
            // If luod has not started, the directory is empty.
            _ = unsafe rmdir(state)
            guard let failure = error as? SystemCallError else { throw error }
            throw Exit.unavailable("luod cannot be started: \(failure)")
        }
    }

    /// The environment without the variables that a service manager has set for the program. With them luod would speak
    /// for the service.
    static func environment(_ own: [String]) -> [String] {
        let ofManager = ["NOTIFY_SOCKET=", "WATCHDOG_", "LISTEN_"]
        return own.filter { variable in !ofManager.contains { variable.hasPrefix($0) } }
    }

    /// - Returns: the ends of the pipes that belong to this process.
    private static func start(
        _ image: ProgramImage
    ) throws(SystemCallError) -> (life: FileDescriptor, output: FileDescriptor) {
        let input = try PipeEnds()
        let output = try PipeEnds()
        try image.startApart(input: input.reading.borrowed, output: output.writing.borrowed)
        return (
            try input.writing.borrowed.duplicated().release(), try output.reading.borrowed.duplicated().release()
        )
    }

    /// The image of luod: beside this program, in the sbin that belongs to its directory, in PATH, or in a usual sbin.
    /// Not every user has sbin in PATH.
    private static func image() throws -> String {
        let directory = NeighbourProgram.directory
        let near = [directory.appending("luod"), directory.pushing("../sbin/luod")].map {
            $0.lexicallyNormalized().string
        }
        let usual = ["/usr/local/sbin/luod", "/usr/sbin/luod"]
        // A relative directory in PATH is not meant for a program that the user does not name.
        let inPath = Execution.places(of: "luod").filter { $0.hasPrefix("/") }
        guard
            let found = near.first(where: NeighbourProgram.isNeighbour)
                ?? (inPath + usual).first(where: NeighbourProgram.isExecutable)
        else {
            throw Exit.unavailable(
                "there is no luod: not \(near.joined(separator: ", ")), in PATH, nor \(usual.joined(separator: ", ")); "
                    + "install it, or name a running one with --state")
        }
        return found
    }

    private static func makeState() throws -> String {
        let directory = environmentVariable("TMPDIR") ?? "/tmp"
        do throws(SystemCallError) {
            return try makeTemporaryDirectory("\(directory)/luod")
        } catch {
            throw Exit.unavailable("\(directory): \(error.errno); set TMPDIR to a directory that can be written")
        }
    }

    /// Waits until luod is ready. If luod ends instead, the error contains luod's output.
    private static func waitUntilReady(_ output: FileDescriptor, _ image: String) throws {
        var said: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = try systemCall("read") { unsafe read(output.rawValue, &chunk, chunk.count) }
            said += chunk.prefix(count)
            let text = String(decoding: said, as: UTF8.self)
            if text.contains("luod: ready") { return }
            guard count > 0 else {
                throw Exit.unavailable("\(image) ended: \(text.split(separator: "\n").joined(separator: "; "))")
            }
        }
    }
}
