import ArgumentParser
import Glibc
import LiveUpdateDevice
import Platform
import SystemPackage

/// Descriptors for a program that this process becomes: it has them as 3, 4 and so on.
struct GivenDescriptors {
    /// In the order in which they came.
    private(set) var all: [FileDescriptor] = []

    init(count: Int) {
        // Each is here twice for a moment; who needs few keeps the limit that there is.
        if count > 256 { DescriptorLimit.raise(to: 2 * count + 64) }
    }

    mutating func add(_ descriptor: consuming OwnedDescriptor) { all.append(descriptor.release()) }

    /// Becomes the program.
    ///
    /// - Throws: EMFILE when it cannot have them.
    /// - Returns: only when there is no such program: the exit code.
    mutating func become(
        _ images: [ProgramImage], called name: String, remedy: String
    ) throws(LiveUpdateError) -> ExitCode {
        do throws(SystemCallError) {
            try place()
        } catch {
            throw LiveUpdateError(error, "the descriptors of \(name)")
        }
        return Execution.become(images, called: name, remedy: remedy)
    }

    /// Out of the way first: a number that one gets may be another's.
    private mutating func place() throws(SystemCallError) {
        let first: CInt = 3
        for index in all.indices {
            // Closed on exec, and needs no owner any more.
            let copy = try all[index].duplicated(from: first + CInt(all.count))
            all[index] = copy.release()
        }
        for (index, descriptor) in all.enumerated() {
            try systemCall("dup2") { dup2(descriptor.rawValue, first + CInt(index)) }
        }
    }
}
