import Glibc
import LiveUpdateDevice
import Platform
import SystemPackage

/// Descriptors for a program that this process becomes: it has them as 3, 4 and so on.
///
/// Their numbers are reserved before this process opens anything else, so that nothing is in the way of them later: when all
/// descriptors are here, the program has them without another step that can fail.
struct GivenDescriptors: ~Copyable {
    /// The descriptors that were added, under the numbers that the program has them by.
    private(set) var all: [FileDescriptor] = []

    private static let first: CInt = 3

    /// Reserves numbers.
    ///
    /// - Throws: EMFILE when this process may not have as many, and the few that it needs itself.
    init(count: Int) throws(LiveUpdateError) {
        // The connection to luod, the session, and what arrives or is made meanwhile.
        let needed = Int(Self.first) + count + 6
        // A program that needs few descriptors keeps the limit that there is.
        if count > 256 { DescriptorLimit.raise(to: needed + 64) }
        guard needed <= DescriptorLimit.now else {
            throw LiveUpdateError(
                .tooManyOpenFiles,
                "\(count) descriptors for the program take \(needed), and this process may have \(DescriptorLimit.now)")
        }
        do throws(SystemCallError) {
            try Self.reserve(count)
        } catch {
            throw LiveUpdateError(error, "reserving descriptors for the program")
        }
    }

    /// Other descriptors that were inherited under these numbers are not the program's.
    private static func reserve(_ count: Int) throws(SystemCallError) {
        let numbers = first..<first + CInt(count)
        let nothing = try openFile("/dev/null")
        for number in numbers where number != nothing.borrowed.rawValue {
            try nothing.borrowed.copy(to: FileDescriptor(rawValue: number))
        }
        // The number that it got may be one of them.
        if numbers.contains(nothing.borrowed.rawValue) { _ = nothing.release() }
    }

    /// Puts a descriptor in its place.
    mutating func add(_ descriptor: consuming OwnedDescriptor) throws(SystemCallError) {
        let place = FileDescriptor(rawValue: Self.first + CInt(all.count))
        try descriptor.borrowed.copy(to: place)
        try place.setCloseOnExec(false)
        all.append(place)
    }
}
