import Glibc
import LiveUpdateDevice
import Platform
import SystemPackage

/// Descriptors for a program that this process becomes: it has them as 3, 4 and so on.
struct GivenDescriptors {
    private var descriptors: [FileDescriptor] = []

    init(count: Int) {
        // Each is here twice for a moment; who needs few keeps the limit that there is.
        if count > 256 { DescriptorLimit.raise(to: 2 * count + 64) }
    }

    mutating func add(_ descriptor: consuming OwnedDescriptor) { descriptors.append(descriptor.release()) }

    /// Becomes the program.
    func become(_ command: [String]) throws(LiveUpdateError) -> Never {
        do throws(SystemCallError) {
            try place()
        } catch {
            throw LiveUpdateError(error, "the descriptors of \(command[0])")
        }
        // What is ignored stays so over execve(2).
        _ = signal(SIGPIPE, SIG_DFL)
        var failure = Errno.noSuchFileOrDirectory
        for path in Self.places(of: command[0]) {
            do throws(SystemCallError) {
                try ProgramImage(path: path, arguments: command).execute()
            } catch {
                if error.errno != .noSuchFileOrDirectory { failure = error.errno }
            }
        }
        throw LiveUpdateError(
            failure, "\(command[0]) cannot be executed",
            remedy: "the files are in their session: retrieve them with another program")
    }

    /// Out of the way first: a number that one gets may be another's.
    private func place() throws(SystemCallError) {
        let first: CInt = 3
        var copies: [OwnedNumber] = []
        for descriptor in descriptors {
            copies.append(OwnedNumber(try descriptor.duplicated(from: first + CInt(descriptors.count))))
        }
        for (index, copy) in copies.enumerated() {
            try systemCall("dup2") { dup2(copy.descriptor.rawValue, first + CInt(index)) }
        }
    }

    static func places(of program: String) -> [String] {
        if program.contains("/") { return [program] }
        let path = environmentVariable("PATH") ?? "/usr/local/bin:/usr/bin:/bin"
        let directories = path.split(separator: ":", omittingEmptySubsequences: false)
        return directories.map { $0.isEmpty ? program : "\($0)/\(program)" }
    }
}

/// A descriptor that is closed on exec, and needs no owner any more.
private struct OwnedNumber {
    let descriptor: FileDescriptor
    init(_ owned: consuming OwnedDescriptor) { descriptor = owned.release() }
}
