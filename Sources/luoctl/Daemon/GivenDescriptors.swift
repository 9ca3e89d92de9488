// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateDevice
import LiveUpdatePlatform
import SystemPackage

/// Descriptors for the program that this process becomes, under the numbers 3, 4 and so on.
///
/// The numbers are reserved before this process opens anything else. When all descriptors are here, the program has
/// them without another step that can fail.
struct GivenDescriptors: ~Copyable {
    /// The descriptors that were added, under their numbers in the program.
    private(set) var all: [FileDescriptor] = []

    private static let first: CInt = 3

    /// Reserves numbers.
    ///
    /// - Throws: EMFILE when this process may not have as many descriptors, and six more for itself.
    init(count: Int) throws(LiveUpdateError) {
        _ = try Self.end(count: count)
        do throws(SystemCallError) {
            try Self.reserve(count)
        } catch {
            throw LiveUpdateError(error, "reserving descriptors for the program")
        }
    }

    /// The lowest number behind the reserved ones. The limit on open files is raised for them if necessary.
    ///
    /// - Throws: as ``init(count:)``.
    static func end(count: Int) throws(LiveUpdateError) -> CInt {
        // Six more: the connection to luod, the session, the guard's socket, and a descriptor that arrives.
        let needed = Int(first) + count + 6
        // The limit stays as it is for a program that needs few descriptors.
        if count > 256 { DescriptorLimit.raise(to: needed + 64) }
        guard needed <= DescriptorLimit.now else {
            throw LiveUpdateError(
                .tooManyOpenFiles,
                "\(count) files for the program need \(needed) descriptors, and this process may have \(DescriptorLimit.now)",
                remedy: "raise the limit on open files (ulimit -n, LimitNOFILE=)")
        }
        return first + CInt(count)
    }

    /// Fills the numbers with /dev/null. The program does not get descriptors that this process inherited under them.
    private static func reserve(_ count: Int) throws(SystemCallError) {
        let numbers = first..<first + CInt(count)
        let nothing = try openFile("/dev/null")
        for number in numbers where number != nothing.borrowed.rawValue {
            try nothing.borrowed.copy(to: FileDescriptor(rawValue: number))
        }
        // The number of `nothing` may be one of the reserved ones.
        if numbers.contains(nothing.borrowed.rawValue) { _ = nothing.release() }
    }

    /// Gives a descriptor the next number.
    mutating func add(_ descriptor: consuming OwnedDescriptor) throws(SystemCallError) {
        let place = FileDescriptor(rawValue: Self.first + CInt(all.count))
        try descriptor.borrowed.copy(to: place)
        try place.setCloseOnExec(false)
        all.append(place)
    }
}
