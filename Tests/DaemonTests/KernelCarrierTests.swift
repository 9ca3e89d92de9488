// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage
import Testing

@testable import LiveUpdateDaemon

/// The list that travels with the memory files, and the memory that the kernel needs for them. The carrier itself is
/// tested in a guest: Tests/VM/kexec-luo.
@Suite struct KernelCarrierTests {
    private let cargo = KernelCargo([
        .init(
            slot: DescriptorSlot(7), token: 7, position: 5, mode: OpenMode(flags: O_RDWR | O_APPEND), seals: [.write],
            user: 1000, permissions: [.ownerReadWrite], owner: 1000, group: 100),
        .init(
            slot: DescriptorSlot(9), token: 7, position: 0, mode: OpenMode(flags: O_RDONLY), seals: [.write], user: 0,
            permissions: [.ownerReadWrite], owner: 1000, group: 100),
    ])

    @Test("The list comes back as it was written: 16 bytes, and 48 for each descriptor") func roundTrip() throws {
        let bytes = cargo.bytes
        #expect(bytes.count == 16 + 2 * 48 && bytes.starts(with: "LUOCARGO".utf8))
        #expect(try KernelCargo(bytes) == cargo)
        #expect(try KernelCargo(KernelCargo([] as [KernelCargo.Item]).bytes).items.isEmpty)
    }

    @Test("A list that is cut or damaged is refused") func damaged() {
        let bytes = cargo.bytes
        for length in 0..<bytes.count {
            #expect(throws: ArenaError.self) { try KernelCargo([UInt8](bytes.prefix(length))) }
        }
        for (offset, value) in [(0, UInt8(0)), (8, 2), (12, 3), (15, 0xFF), (16, 0), (16 + 24, 3)] {
            var damaged = bytes
            damaged[offset] = value
            #expect(throws: ArenaError.self, "byte \(offset)") { try KernelCargo(damaged) }
        }
    }

    @Test("Each state has its own session of the kernel") func names() {
        let name = KernelCargo.sessionName(ofState: "/run/luo")
        #expect(name == KernelCargo.sessionName(ofState: "/run/luo"))
        #expect(name != KernelCargo.sessionName(ofState: "/run/luo2"))
        #expect(name == SessionName("luod:/run/luo"))
    }

    @Test("A long path has a name, too, which depends on all of its bytes in two ways") func longNames() {
        let path = "/" + String(repeating: "long/", count: 40)
        let changed = path.indices.dropFirst().map { path[..<$0] + "x" + path[path.index(after: $0)...] }
        let names = [path] + changed.map { String($0) }
        let found = names.map { KernelCargo.sessionName(ofState: $0) }
        #expect(found.count { !$0.isValid } == 0)
        #expect(Set(found.map(\.bytes)).count == names.count)
        for part in 0..<2 {
            let sums = found.map { name in
                name.bytes.split(separator: UInt8(ascii: ":"))[0].split(separator: UInt8(ascii: "-"))[1 + part]
            }
            #expect(Set(sums).count == names.count)
        }
        // The longest path that is a name itself.
        let longest = "/" + String(repeating: "a", count: 57)
        #expect(KernelCargo.sessionName(ofState: longest) == SessionName("luod:\(longest)"))
        #expect(KernelCargo.sessionName(ofState: longest + "a").isValid)
    }

    private static let gibibyte: UInt64 = 1 << 30

    @Test(
        "The kernel needs memory for holes, and for pages that leave its reserve",
        arguments: [
            // MemAvailable, CmaTotal, CmaFree, size, allocated, whether there is enough: in GiB.
            (8, 0, 0, 4, 4, true), (8, 0, 0, 100, 100, true), (8, 0, 0, 9, 1, false), (8, 0, 0, 8, 0, false),
            (8, 4, 4, 5, 0, false), (8, 4, 4, 3, 0, true), (2, 4, 1, 5, 5, false), (8, 4, 1, 5, 5, true),
            (0, 0, 0, 1, 1, true), (0, 0, 0, 1, 0, false), (1, 4, 4, 1, 0, false),
        ] as [(UInt64, UInt64, UInt64, UInt64, UInt64, Bool)])
    func memory(
        available: UInt64, reserve: UInt64, free: UInt64, size: UInt64, allocated: UInt64, isEnough: Bool
    ) {
        let unit = Self.gibibyte
        var budget = KernelMemoryBudget(
            MemoryInformation(available: available * unit, reserve: reserve * unit, freeInReserve: free * unit))
        let before = budget
        let hasTaken = budget.take(size: size * unit, allocated: allocated * unit)
        #expect(hasTaken == isEnough)
        if !isEnough { #expect(budget == before) }
    }

    @Test("What one file takes is not there for the next, and no size overflows") func sums() {
        var budget = KernelMemoryBudget(MemoryInformation(available: 8 << 30))
        let sizes: [UInt64] = [6 << 30, 6 << 30, 1 << 62, 1 << 62, 1 << 62, 1 << 62, .max, 1 << 30]
        let taken = sizes.map { budget.take(size: $0, allocated: 0) }
        #expect(taken == [true, false, false, false, false, false, false, true])
        let hasTakenNothing = budget.take(size: 0, allocated: .max)
        #expect(hasTakenNothing)
    }
}
