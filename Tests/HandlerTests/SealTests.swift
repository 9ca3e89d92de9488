// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

@testable import LiveUpdateCore
@testable import LiveUpdateHandlers

/// Every seal, on both kinds of memory files. The file has the seal before preserve, while it is preserved, and after
/// the update. The seal also works afterwards.
@Suite struct SealTests {
    static let all: [Seals] = [
        [], .seal, .shrink, .grow, .write, .futureWrite, .exec, [.shrink, .grow, .write, .futureWrite, .exec, .seal],
    ]

    @Test(arguments: all) func memfd(_ seals: Seals) throws { try check(seals, .base) }

    @Test(.requiresHugePages(2), arguments: all) func hugeMemfd(_ seals: Seals) throws { try check(seals, .huge2M) }

    private func check(_ seals: Seals, _ pageSize: PageSize) throws {
        let file = try TestFile(pages: [0], of: 2, pageSize: pageSize)
        guard try file.addSealsIfKnown(seals) else { return }
        // F_SEAL_EXEC also sets the seals against writing and against a change of size if the file is executable.
        let before = try file.descriptor.seals()
        #expect(before.isSuperset(of: seals))
        let machine = try Machine()
        let carried = try machine.carry(file)
        #expect(try carried.file.descriptor.seals() == before)
        if pageSize == .base {
            #expect(try MemfdRecord(at: carried.boot.file(1).data, in: machine.storage()).seals == before)
        }
        expectBite(before, carried.file.descriptor, pageSize)
    }

    private func expectBite(_ seals: Seals, _ file: FileDescriptor, _ pageSize: PageSize) {
        let noWrite = !seals.isDisjoint(with: [.write, .futureWrite])
        #expect(
            answer { _ = try Mapping(of: file, length: pageSize.bytes, .shared(writable: true)) }
                == (noWrite ? .notPermitted : nil))
        #expect(answer { try file.setSize(3 * pageSize.bytes) } == (seals.contains(.grow) ? .notPermitted : nil))
        #expect(answer { try file.setSize(pageSize.bytes) } == (seals.contains(.shrink) ? .notPermitted : nil))
        #expect(answer { try file.addSeals(.grow) } == (seals.contains(.seal) ? .notPermitted : nil))
        // This changes whether the file is executable. hugetlbfs keeps the seal against it, but does not enforce it.
        let isChanged = fchmod(file.rawValue, 0o600) == 0
        #expect(isChanged == !(seals.contains(.exec) && pageSize == .base))
    }

    private func answer(_ body: () throws -> Void) -> Errno? {
        do {
            try body()
            return nil
        } catch {
            return (error as? SystemCallError)?.errno
        }
    }

    @Test("MFD_NOEXEC_SEAL makes a file that can never become executable") func neverExecutable() throws {
        // Swift's Glibc module does not have memfd_create(2).
        typealias Function = @convention(c) (UnsafePointer<CChar>, CUnsignedInt) -> CInt
        let create = unsafe unsafeBitCast(try #require(unsafe dlsym(nil, "memfd_create")), to: Function.self)
        let number = unsafe create("test", 0x1 | 0x8)
        if number < 0, errno == EINVAL { try Test.cancel("before Linux 6.3") }
        let file = TestFile(taking: FileDescriptor(rawValue: number))
        try file.descriptor.setSize(4096)
        let carried = try Machine().carry(file)
        #expect(try carried.file.descriptor.seals() == .exec)
        #expect(fchmod(carried.file.descriptor.rawValue, 0o777) == -1)
    }
}

extension TestFile {
    /// Adds seals.
    ///
    /// - Returns: false for a seal that this kernel does not know.
    fileprivate func addSealsIfKnown(_ seals: Seals) throws -> Bool {
        do {
            try descriptor.addSeals(seals)
        } catch {
            guard error.errno == .invalidArgument, seals.contains(.exec) else { throw error }
            return false
        }
        return true
    }
}
