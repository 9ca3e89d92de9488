// SPDX-License-Identifier: Apache-2.0
import CLiveUpdate
import Glibc
import SystemPackage

/// The memory that a thread has when this object is made, opened for writing. The thread's number may mean another
/// thread later, and the kernel's calls that take a number would write into that one. This object always means the same
/// memory.
package final class OtherMemory: Sendable {
    /// /proc/PID/mem and /proc/PID/maps of proc(5). Both stay those of that memory, even if the thread ends or executes
    /// another program.
    private let memory: OwnedDescriptor
    private let maps: OwnedDescriptor

    /// Opens the memory of a thread. The caller must check after this that the number still means the intended thread.
    ///
    /// - Throws: ENOENT or ESRCH when there is no such thread, EACCES without the right that ptrace(2) asks for,
    ///   EMFILE.
    package init(of thread: OtherThread) throws(SystemCallError) {
        let number = try systemCall("open") { unsafe Glibc.open("/proc/\(thread.id)/mem", O_WRONLY | O_CLOEXEC) }
        memory = OwnedDescriptor(taking: FileDescriptor(rawValue: number))
        maps = try openFile("/proc/\(thread.id)/maps")
    }

    /// Copies bytes into the memory, if its owner may write to all of them. Otherwise it copies none.
    ///
    /// - Throws: EFAULT when the owner may not write to all of them.
    package func write(_ bytes: [UInt8], at address: UInt64) throws(SystemCallError) {
        // The kernel would write to read-only pages, too, through /proc/PID/mem.
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

    /// Checks that the owner of the memory may write to some bytes of it.
    ///
    /// - Throws: EFAULT when the owner may not write to all of them.
    package func checkWritable(at address: UInt64, count: Int) throws(SystemCallError) {
        guard mayWrite(address, UInt64(count)) else { throw SystemCallError("pwrite", .badAddress) }
    }

    private func mayWrite(_ address: UInt64, _ count: UInt64) -> Bool {
        let (end, isTooFar) = address.addingReportingOverflow(count)
        guard !isTooFar, end <= UInt64(Int64.max) else { return false }
        var next = address
        while next < end {
            let found = cshims_writable_until(maps.borrowed.rawValue, next)
            guard found != 0 else { return false }
            // A kernel before 6.11 does not know this request.
            if found == .max { return WritableRanges(in: maps.borrowed).covers(address..<end) }
            next = found
        }
        return true
    }
}

/// The writable ranges of a memory, as /proc/PID/maps lists them.
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

    /// Whether the ranges, which are in ascending order, cover all of `wanted`.
    func covers(_ wanted: Range<UInt64>) -> Bool {
        var next = wanted.lowerBound
        for range in ranges where range.contains(next) { next = range.upperBound }
        return next >= wanted.upperBound
    }
}

/// The text of a file of /proc, which reports no size.
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
