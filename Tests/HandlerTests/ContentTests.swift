// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// Preserve, reboot and retrieve neither read nor write content. The tests count the two ways to reach content: faults
/// of a mapping (at least one for each huge page, or for each 16 small ones), and the bytes of read(2) and its kin.
/// Both counts must be independent of the size of a file.
@Suite struct ContentTests {
    /// The counts of the calling thread so far.
    private struct Work {
        var faults: Int
        var read: Int
        var written: Int

        static var now: Work {
            get throws {
                var usage = rusage()
                unsafe getrusage(threadOnly, &usage)
                let lines = try String(contentsOfSmallFile: "/proc/thread-self/io").split(separator: "\n")
                func count(_ name: String) throws -> Int {
                    let line = try #require(lines.first { $0.hasPrefix(name + ":") })
                    return try #require(Int(line.drop { !$0.isNumber }))
                }
                return Work(
                    faults: usage.ru_minflt + usage.ru_majflt, read: try count("rchar"), written: try count("wchar"))
            }
        }
    }

    /// The least cost of an update of one file, because other threads can only add to it.
    private func cost(of file: TestFile) throws -> Work {
        var least = Work(faults: .max, read: .max, written: .max)
        for _ in 0..<5 {
            let machine = try Machine()
            let before = try Work.now
            let carried = try machine.carry(file)
            let after = try Work.now
            try carried.session.finish()
            least.faults = min(least.faults, after.faults - before.faults)
            least.read = min(least.read, after.read - before.read)
            least.written = min(least.written, after.written - before.written)
        }
        return least
    }

    private func expectIndependent(small: TestFile, large: TestFile, faults: Int, bytes: Int) throws {
        _ = try cost(of: small)  // warms up
        let (few, many) = (try cost(of: small), try cost(of: large))
        #expect(many.faults - few.faults < faults, "\(few) \(many)")
        #expect(many.read - few.read < bytes, "\(few) \(many)")
        #expect(many.written == few.written, "\(few) \(many)")
    }

    @Test("A memory file of 64 MiB costs as much as one of 4 KiB", .disabled(if: Scale.isSanitized, "counts more"))
    func memfd() throws {
        let small = try TestFile(pages: [0], of: 1)
        let large = try TestFile(size: 64 << 20)
        let mapping = try Mapping(of: large.descriptor, length: 64 << 20, .shared(writable: true))
        unsafe mapping.bytes.initializeMemory(as: UInt8.self, repeating: 0xA5)
        // Reading the file would touch 16,384 pages: 1,024 faults, or 64 MiB read.
        try expectIndependent(small: small, large: large, faults: 64, bytes: 4096)
    }

    @Test(
        "40 huge pages cost as much as one, plus 8 bytes for the frame of each", .requiresHugePages(41),
        .disabled(if: Scale.isSanitized, "counts more"))
    func hugeMemfd() throws {
        let small = try TestFile(pages: [0], of: 1, pageSize: .huge2M)
        let large = try TestFile(pages: Array(0..<40), of: 40, pageSize: .huge2M)
        try expectIndependent(small: small, large: large, faults: 20, bytes: 4096)
    }
}

/// `RUSAGE_THREAD` of getrusage(2). It needs _GNU_SOURCE, which Swift's Glibc module does not define.
private let threadOnly: __rusage_who_t = 1

extension String {
    /// Reads a file of procfs.
    fileprivate init(contentsOfSmallFile path: String) throws {
        let file = try openFile(path)
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = try unsafe bytes.withUnsafeMutableBytes { buffer in try unsafe file.borrowed.read(into: buffer) }
        self = String(decoding: bytes.prefix(count), as: UTF8.self)
    }
}
