import CShims
import Glibc
import SystemPackage

/// The memory that a thread has when this is made, to be written to. Its number may mean another thread later, this never: the
/// kernel's calls that take a number would write into whoever has it then.
public final class OtherMemory: Sendable {
    /// /proc/PID/mem and /proc/PID/maps of proc(5): both stay those of that memory, also when the thread has gone or executes
    /// another program.
    private let memory: OwnedDescriptor
    private let maps: OwnedDescriptor

    /// Opens it. Whether it is that of who is meant is to be asked after that.
    ///
    /// - Throws: ENOENT or ESRCH when there is no such thread, EACCES without the right that ptrace(2) asks for, EMFILE.
    public init(of thread: OtherThread) throws(SystemCallError) {
        let number = try systemCall("open") { unsafe Glibc.open("/proc/\(thread.id)/mem", O_WRONLY | O_CLOEXEC) }
        memory = OwnedDescriptor(taking: FileDescriptor(rawValue: number))
        maps = try openFile("/proc/\(thread.id)/maps")
    }

    /// Copies into it, where its owner may write: all or nothing.
    ///
    /// - Throws: EFAULT when not all can be written.
    public func write(_ bytes: [UInt8], at address: UInt64) throws(SystemCallError) {
        // What is written through /proc/PID/mem is written to read-only pages, too.
        try checkWritable(at: address, count: bytes.count)
        var done = 0
        while done < bytes.count {
            let number = memory.borrowed.rawValue
            let place = off_t(truncatingIfNeeded: address &+ UInt64(done))
            let count = unsafe bytes.withUnsafeBytes { buffer in
                unsafe pwrite(number, buffer.baseAddress.unsafelyUnwrapped + done, bytes.count - done, place)
            }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw SystemCallError("pwrite", .badAddress) }
            done += count
        }
    }

    /// Whether its owner may write to some bytes of it.
    ///
    /// - Throws: EFAULT when not to all of them.
    public func checkWritable(at address: UInt64, count: Int) throws(SystemCallError) {
        guard mayWrite(address, UInt64(count)) else { throw SystemCallError("pwrite", .badAddress) }
    }

    private func mayWrite(_ address: UInt64, _ count: UInt64) -> Bool {
        let (end, isTooFar) = address.addingReportingOverflow(count)
        guard !isTooFar, end <= UInt64(Int64.max) else { return false }
        var next = address
        while next < end {
            let found = cshims_writable_until(maps.borrowed.rawValue, next)
            guard found != 0 else { return false }
            // A kernel before 6.11 has no such question.
            if found == .max { return WritableRanges(in: maps.borrowed).covers(address..<end) }
            next = found
        }
        return true
    }
}

/// What may be written, as /proc/PID/maps lists it.
struct WritableRanges {
    private var ranges: [Range<UInt64>] = []

    init(in maps: FileDescriptor) {
        guard let text = try? wholeText(of: maps) else { return }
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ", maxSplits: 2)
            guard words.count == 3, words[1].dropFirst().first == "w" else { continue }
            let ends = words[0].split(separator: "-").compactMap { UInt64($0, radix: 16) }
            guard ends.count == 2, ends[0] < ends[1] else { continue }
            ranges.append(ends[0]..<ends[1])
        }
    }

    /// They are listed rising.
    func covers(_ wanted: Range<UInt64>) -> Bool {
        var next = wanted.lowerBound
        for range in ranges where range.contains(next) { next = range.upperBound }
        return next >= wanted.upperBound
    }
}

/// Of a file of /proc, which says no size.
private func wholeText(of file: FileDescriptor) throws(SystemCallError) -> String {
    var bytes: [UInt8] = []
    var part = [UInt8](repeating: 0, count: 65536)
    while true {
        let place = off_t(bytes.count)
        let count = try systemCall("pread") { unsafe pread(file.rawValue, &part, part.count, place) }
        if count == 0 { return String(decoding: bytes, as: UTF8.self) }
        bytes += part.prefix(count)
    }
}
