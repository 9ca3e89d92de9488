// SPDX-License-Identifier: Apache-2.0
import Glibc
package import LiveUpdatePlatform
package import SystemPackage

/// A process that reserves huge pages, and releases them when the program that uses them ends, in whatever way. The
/// process waits for the end of a pipe that the program holds open.
package struct PoolGuard: Codable {
    private var id: pid_t
    private var input: CInt
    private var output: CInt
    private var note: String

    private init(_ process: ChildProcess, _ note: FilePath) {
        id = process.id
        input = process.input.rawValue
        output = process.output.rawValue
        self.note = note.string
    }

    private var process: ChildProcess {
        ChildProcess(id: id, input: FileDescriptor(rawValue: input), output: FileDescriptor(rawValue: output))
    }

    /// Starts the guard, which reserves pages until `pages` are available.
    ///
    /// - Parameters:
    ///   - pages: the number of pages that must be available.
    ///   - size: the size of the pages.
    ///   - overcommit: whether to allow that many pages beyond the pool instead.
    ///   - luoctl: the path of luoctl, which the guard runs.
    ///   - note: the file in which the guard notes the pages that it takes: see `HugePageLoan`.
    /// - Returns: the number of pages that the guard took, or the reason if it could not take them.
    /// - Throws: the errors of starting luoctl, such as EMFILE or ENOENT.
    package static func start(
        pages: UInt64, of size: PageSize, overcommit: Bool = false, by luoctl: String = "/proc/self/exe",
        notingIn note: FilePath
    ) throws(SystemCallError) -> Result<(guard: PoolGuard, taken: UInt64), Reason> {
        let arguments =
            ["luoctl", "pool-guard", "--pages", "\(pages)", "--order", "\(size.order)", "--note", note.string]
            + (overcommit ? ["--overcommit"] : [])
        let process = try ChildProcess.start(ProgramImage(path: FilePath(luoctl), arguments: arguments))
        let answer = process.readLine() ?? "the process that reserves them ended"
        guard let taken = UInt64(answer) else {
            process.finish()
            return .failure(Reason(text: answer))
        }
        // This process's ends of the pipes outlive the updates.
        try process.input.setCloseOnExec(false)
        try process.output.setCloseOnExec(false)
        return .success((PoolGuard(process, note), taken))
    }

    package struct Reason: Error {
        package let text: String
    }

    /// Makes the guard release the pages, and waits for it. If the guard was killed, this releases the pages instead.
    package func finish() {
        process.finish()
        _ = try? HugePageLoan.settle(FilePath(note))
        Self.removeDirectory(of: FilePath(note))
    }

    /// Removes the directory of a file if it is empty.
    package static func removeDirectory(of file: FilePath) { _ = unsafe rmdir(file.removingLastComponent().string) }
}
