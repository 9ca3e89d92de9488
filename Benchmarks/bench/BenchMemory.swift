// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCommandLine
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage

/// The memory files of the measurements.
enum BenchMemory {
    /// Makes a file. All pages outside of its holes exist and were written.
    ///
    /// `holes` is the percentage of pages that are holes: 0, 50 or 90. The existing pages are apart from each other, so
    /// that there are as many pieces as possible.
    static func file(_ size: UInt64, _ page: PageSize, holes: UInt64 = 0) throws -> OwnedDescriptor {
        let file = try makeMemoryFile(named: "luoctl-bench", size: size, pageSize: page)
        if size == 0 { return file }
        let period = holes == 0 ? 1 : 100 / (100 - holes)
        let mapping = try Mapping(of: file.borrowed, length: size, .shared(writable: true))
        // If others have taken the pages, allocating them is an error. A store without allocation would raise SIGBUS.
        if period == 1 { try file.borrowed.allocate(offset: 0, length: size) }
        for start in stride(from: 0, to: size, by: Int(page.bytes * period)) {
            let end = min(start + page.bytes, size)
            if period > 1 { try file.borrowed.allocate(offset: start, length: end - start) }
            for offset in stride(from: start, to: end, by: 4096) {
                // SAFETY: inside the mapping.
                unsafe mapping.bytes.storeBytes(of: offset + 1, toByteOffset: Int(offset), as: UInt64.self)
            }
        }
        return file
    }

    /// Makes files that exist while a closure runs.
    static func withFiles(
        _ count: UInt64, of size: UInt64, _ page: PageSize, holes: UInt64 = 0,
        _ body: ([FileDescriptor]) throws -> Void
    ) throws {
        var files: [FileDescriptor] = []
        defer { for file in files { try? closeDescriptor(file) } }
        for _ in 0..<count { files.append(try file(size, page, holes: holes).release()) }
        try body(files)
    }

    /// The advice if there are no huge pages, or if the kernel does not show which pages a file has.
    static func remedy(_ count: UInt64, _ page: PageSize = .huge2M) -> String {
        UserfaultObstacle.ofThisMachine()?.remedy
            ?? "luoctl hugepages reserve --size \(page) --count \(count)\(geteuid() == 0 ? "" : ", as root")"
    }
}

extension BenchRun {
    /// Reserves huge pages while a closure runs. Another process holds the reservation, and releases it however this
    /// process ends.
    ///
    /// - Returns: the reason if the pages were not available, or cannot be found in a file.
    func withHugePages(_ count: UInt64, _ page: PageSize, _ body: () throws -> Void) throws -> String? {
        if let obstacle = UserfaultObstacle.ofThisMachine() { return obstacle.reason }
        let directory = FilePath("/dev/shm/luoctl-bench-\(getpid())-\(monotonicNanoseconds())")
        _ = unsafe mkdir(directory.string, 0o700)
        switch try PoolGuard.start(
            pages: count, of: page, by: programs.luoctl, notingIn: directory.appending("reserved"))
        {
        case .failure(let reason):
            PoolGuard.removeDirectory(of: directory.appending("reserved"))
            return reason.text
        case .success((let pool, _)):
            defer { pool.finish() }
            do {
                try body()
                return nil
            } catch let error as SystemCallError where [.noSpace, .noMemory].contains(error.errno) {
                return "others have taken the pages meanwhile (\(error))"
            }
        }
    }
}
