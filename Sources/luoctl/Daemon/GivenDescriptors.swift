import ArgumentParser
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
    ///
    /// - Throws: EMFILE when it cannot have them.
    /// - Returns: only when there is no such program: the exit code.
    func become(_ command: [String]) throws(LiveUpdateError) -> ExitCode {
        do throws(SystemCallError) {
            try place()
        } catch {
            throw LiveUpdateError(error, "the descriptors of \(command[0])")
        }
        return Execution.become(
            Execution.places(of: command[0]).map { ProgramImage(path: $0, arguments: command) }, called: command[0],
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
}

/// A descriptor that is closed on exec, and needs no owner any more.
private struct OwnedNumber {
    let descriptor: FileDescriptor
    init(_ owned: consuming OwnedDescriptor) { descriptor = owned.release() }
}
