// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCommandLine
import LiveUpdateDevice
import LiveUpdatePlatform
import SystemPackage

/// Descriptors for the program that this process becomes, under the numbers 3, 4 and so on, behind those that a service
/// manager has passed (``PassedFiles``).
///
/// The numbers are reserved before this process opens anything else. When all descriptors are here, the program has
/// them without another step that can fail.
struct GivenDescriptors: ~Copyable {
    /// The descriptors that were added, under their numbers in the program.
    private(set) var all: [FileDescriptor] = []
    private var passed: PassedFiles
    private let first: CInt

    private static var inherited: PassedFiles {
        PassedFiles(process: getpid(), limit: DescriptorLimit.now, environmentVariable)
    }

    /// Reserves numbers.
    ///
    /// - Parameters:
    ///   - count: the number of descriptors for the program.
    ///   - mayReplace: whether the program can do without a descriptor that this process inherited.
    /// - Throws: exit code 64 when this process inherited another descriptor under one of the numbers, which the
    ///   program would lose; exit code 1 when this process may not have so many descriptors and six more for itself.
    init(count: Int, mayReplace: (CInt) -> Bool = { _ in false }) throws {
        passed = Self.inherited
        first = passed.end
        let numbers = first..<(try Self.orExit { () throws(LiveUpdateError) in try Self.end(count: count) })
        if let taken = numbers.first(where: { FileDescriptor(rawValue: $0).isInherited && !mayReplace($0) }) {
            throw Exit.usage(
                "descriptor \(taken) is open, and the program would get a file in its place; remedy: close it for this "
                    + "command (\(taken)<&-), or count it in LISTEN_FDS and LISTEN_PID, as sd_listen_fds(3) does")
        }
        try Self.orExit { () throws(LiveUpdateError) in try Self.reserve(numbers) }
    }

    private static func orExit<Value>(_ body: () throws(LiveUpdateError) -> Value) throws -> Value {
        do throws(LiveUpdateError) {
            return try body()
        } catch {
            throw Exit.failed(error)
        }
    }

    /// The lowest number behind the reserved ones. The limit on open files is raised for them if necessary.
    ///
    /// - Throws: EMFILE as ``init(count:mayReplace:)``.
    static func end(count: Int) throws(LiveUpdateError) -> CInt {
        let first = Int(inherited.end)
        // Six more: the connection to luod, the session, the guard's socket, and a descriptor that arrives.
        let needed = first + count + 6
        // The limit stays as it is for a program that needs few descriptors.
        if count > 256 { DescriptorLimit.raise(to: needed + 64) }
        guard needed <= DescriptorLimit.now else {
            throw LiveUpdateError(
                .tooManyOpenFiles,
                "\(count) files for the program need \(needed) descriptors, and this process may have \(DescriptorLimit.now)",
                remedy: "raise the limit on open files (ulimit -n, LimitNOFILE=)")
        }
        return CInt(first + count)
    }

    /// Fills the numbers with /dev/null.
    private static func reserve(_ numbers: Range<CInt>) throws(LiveUpdateError) {
        do throws(SystemCallError) {
            let nothing = try openFile("/dev/null")
            for number in numbers where number != nothing.borrowed.rawValue {
                try nothing.borrowed.copy(to: FileDescriptor(rawValue: number))
            }
            // The number of `nothing` may be one of the reserved ones.
            if numbers.contains(nothing.borrowed.rawValue) { _ = nothing.release() }
        } catch {
            throw LiveUpdateError(error, "reserving descriptors for the program")
        }
    }

    /// Gives a descriptor the next number.
    ///
    /// - Parameters:
    ///   - descriptor: the descriptor.
    ///   - name: its name for the program.
    /// - Throws: EMFILE.
    mutating func add(_ descriptor: consuming OwnedDescriptor, called name: String) throws(SystemCallError) {
        let place = FileDescriptor(rawValue: first + CInt(all.count))
        try descriptor.borrowed.copy(to: place)
        try place.setCloseOnExec(false)
        all.append(place)
        passed.add(name)
    }

    /// The images, with the variables that count and name the descriptors.
    func telling(_ images: [ProgramImage]) -> [ProgramImage] {
        images.map { image in
            // From systemd 258 on, this variable names the process more exactly than LISTEN_PID. With that of another
            // process, sd_listen_fds(3) would find no descriptors. It may be left out.
            passed.variables.reduce(image.setting("LISTEN_PIDFDID", nil)) { $0.setting($1.name, $1.value) }
        }
    }
}
