// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

@testable import LiveUpdateCore
@testable import LiveUpdateHandlers

/// The FLB of files on DAX: its record, and the comparison of the recorded regions with those of another kernel.
@Suite struct DaxRegionTests {
    private static let mib: UInt64 = 1 << 20
    private static let memory = DaxMemory(start: 1 << 30, size: 256 * mib)
    private static let uuid = "49614ed4-9cdd-4f35-a350-08c31ee5fdca"
    private static let line = KernelCommandLine("quiet memmap=256M!1G")

    /// pmem0 on the region of ``memory``.
    private static func disk(
        _ mounts: [DaxMount] = [DaxMount(point: "/pmem", rule: .always)], uuid: String? = nil
    ) -> DaxDevice {
        DaxDevice(
            name: "pmem0", start: memory.start, size: memory.size, uuid: uuid, numbers: [7], allowsDAX: true,
            content: .fileSystem(type: "ext4", mounts: mounts))
    }

    private static func devdax(_ content: DaxDevice.Content = .device(alignment: 2 << 20)) -> DaxDevice {
        DaxDevice(
            name: "dax0.0", start: memory.start + 6 * mib, size: 250 * mib, numbers: [9], allowsDAX: true,
            content: content)
    }

    private static func region(
        _ devices: [DaxDevice], _ source: DaxRegion.Source = .e820, start: UInt64? = memory.start
    ) -> DaxRegion {
        DaxRegion(
            name: "region0", source: source, start: start, size: memory.size, alignment: 16 * mib, devices: devices)
    }

    private static func situation(_ regions: [DaxRegion], _ line: KernelCommandLine = line) throws -> DaxSituation {
        let mounts = [
            "1 1 8:1 / / rw - ext4 a rw", "2 1 0:7 / /pmem rw - ext4 a rw", "3 2 0:8 / /pmem/far rw - nfs a rw",
        ]
        return DaxSituation(
            regions: regions, mounts: try mounts.map { try #require(Mount(line: [UInt8]($0.utf8)[...])) },
            commandLine: line)
    }

    private static func record(
        _ source: DaxRegion.Source = .e820, memmap: String? = "256M!1G", namespace: String? = nil,
        use: DaxRegionRecord.Use = .fileSystem(.ext4, mountPoint: "/pmem")
    ) -> DaxRegionRecord {
        DaxRegionRecord(
            memory: memory, source: source, memmap: memmap.flatMap { Memmap($0) },
            namespace: namespace.flatMap { NamespaceID($0) }, use: use)
    }

    // MARK: The record

    private final class Records {
        let machine: Machine
        let storage: Storage
        let getters: FLBGetters

        init() throws {
            machine = try Machine()
            let boot = try machine.standardBoot()
            try boot.orchestrator.open()
            getters = FLBGetters(boot: try boot.orchestrator.enabled())
            let arena = try machine.openArena()
            try arena.claim(inUse: [])
            storage = Storage(arena)
        }

        func context(data: UInt64 = 0, _ users: [FLBUser] = []) -> FLBContext {
            FLBContext(
                direction: data == 0 ? .outgoing : .incoming, data: data, storage: storage, flbs: getters, users: users)
        }
    }

    @Test("Each entry has 64 bytes and the mount point") func layout() throws {
        let records = try Records()
        let all = [
            Self.record(namespace: Self.uuid), Self.record(.other("ndtest"), memmap: nil, use: .device),
            Self.record(.cxl, memmap: nil, use: .fileSystem(.xfs, mountPoint: nil)),
        ]
        let bytes = DaxRegionRecord.bytes(all)
        #expect(bytes.count == 8 + 3 * 64 + 5)
        #expect([0, 4].map { integer(UInt32.self, bytes, at: $0) } == [3, 3 * 64 + 5])
        let words = [8, 16, 24, 32].map { integer(UInt64.self, bytes, at: $0) }
        #expect(words == [1 << 30, 256 << 20, 1 << 30, 256 << 20])
        #expect(Array(bytes[40..<44]) == [0x49, 0x61, 0x4E, 0xD4])
        #expect([56, 60, 64, 68].map { integer(UInt32.self, bytes, at: $0) } == [1, 1, 5, 0])
        #expect(Array(bytes[72..<77]) == [UInt8]("/pmem".utf8))
        let at = try records.storage.store(bytes)
        let read = try DaxRegionRecord.regions(at: at, in: records.storage)
        #expect(read[0] == all[0] && read[1].source == .other("") && read[1].use == .device && read[2] == all[2])
        let none = try records.storage.store(DaxRegionRecord.bytes([]))
        #expect(try DaxRegionRecord.regions(at: none, in: records.storage).isEmpty)
    }

    @Test("A malformed record is refused") func damaged() throws {
        let records = try Records()
        let whole = DaxRegionRecord.bytes([Self.record()])
        func expectRefused(_ what: Comment, _ change: (inout [UInt8]) -> Void) throws {
            var bytes = whole
            change(&bytes)
            let at = try records.storage.store(bytes)
            #expect(errno { try DaxRegions().retrieve(records.context(data: at)) } == .ioError, what)
        }
        func put<Value: FixedWidthInteger>(_ value: Value, at offset: Int) -> (inout [UInt8]) -> Void {
            { $0.replaceSubrange(offset..<offset + Value.bitWidth / 8, with: nativeBytes(value)) }
        }
        for count in [0, 2, UInt32.max] { try expectRefused("\(count) entries", put(count, at: 0)) }
        for length in [0, 63, 68, UInt32.max] { try expectRefused("\(length) bytes of entries", put(length, at: 4)) }
        try expectRefused("a region of 0 bytes", put(UInt64(0), at: 16))
        try expectRefused("a region without an end", put(UInt64.max, at: 16))
        try expectRefused("a memmap= without an end", put(UInt64.max, at: 32))
        for source in [0, 7, UInt32.max] { try expectRefused("the source \(source)", put(source, at: 56)) }
        for use in [3, UInt32.max] { try expectRefused("the use \(use)", put(use, at: 60)) }
        for length in [4, 6, 4096, UInt32.max] { try expectRefused("a path of \(length) bytes", put(length, at: 64)) }
        try expectRefused("not absolute") { bytes in bytes[72] = UInt8(ascii: "p") }
        try expectRefused("a NUL") { bytes in bytes[73] = 0 }
        for place in [UInt64.max, UInt64.max - 7, UInt64.max - 8] {
            #expect(errno { try DaxRegions().retrieve(records.context(data: place)) } == .ioError)
        }
    }

    @Test("The FLB stores each region and mount point once, with what the next kernel needs") func serialize() throws {
        let records = try Records()
        func file(_ path: FilePath, on memory: DaxMemory = Self.memory) throws -> FLBUser {
            let record = try DaxFileRecord(
                size: 1, position: 0, file: LastingIdentity(fileSystem: 1, inode: 2, generation: 3),
                mode: OpenMode(flags: O_RDWR), memory: memory, extents: [], type: .ext4, path: path, in: records.storage
            )
            return FLBUser(
                compatible: "dax-file-v1", data: try records.storage.store(record.bytes),
                identity: FileIdentity(device: 1, inode: 2))
        }
        let device =
            nativeBytes(Self.memory.start + 6 * Self.mib) + nativeBytes(250 * Self.mib)
            + nativeBytes(UInt64(2 << 20)) + nativeBytes(UInt32(O_RDWR)) + nativeBytes(UInt32(0))
        let elsewhere = DaxMemory(start: 8 << 30, size: 1 << 30)
        let users = [
            try file("/pmem/a"), try file("/pmem/b/c"), try file("/pmem/far/d"), try file("/x", on: elsewhere),
            FLBUser(
                compatible: "dax-device-v1", data: try records.storage.store(device),
                identity: FileIdentity(device: 2, inode: 1)),
            FLBUser(compatible: "memfd-extents-v1", data: 0, identity: FileIdentity(device: 3, inode: 1)),
        ]
        let there = try Self.situation([Self.region([Self.disk(uuid: Self.uuid), Self.devdax()])])
        let flb = DaxRegions { there }
        let (data, object) = try flb.preserve(records.context())
        #expect(data != 0 && object.regions.isEmpty && object.missing.isEmpty)
        let state = try flb.retrieve(records.context(data: try flb.serialize(object, records.context(users))))
        #expect(
            Set(state.regions) == [
                Self.record(namespace: Self.uuid), Self.record(use: .device),
                // A file on an unknown mount.
                Self.record(use: .fileSystem(.ext4, mountPoint: nil)),
                DaxRegionRecord(memory: elsewhere, use: .fileSystem(.ext4, mountPoint: "/")),
            ])
        #expect(state.regions.count == 4)
        #expect(
            state.missing == [
                "the kernel has no persistent memory of 1G at 0x200000000: luoctl dax shows the regions that are there"
            ])
    }

    // MARK: The next kernel

    struct Case: Sendable, CustomStringConvertible {
        let description: String
        let record: DaxRegionRecord
        let regions: [DaxRegion]
        var line = DaxRegionTests.line
        /// Parts of the reason and of the remedy; none when everything is there.
        let words: [String]
    }

    static let cases = [
        Case(description: "mounted as before", record: record(), regions: [region([disk()])], words: []),
        Case(
            description: "another mount option", record: record(),
            regions: [region([disk([DaxMount(point: "/pmem", rule: .inode)])])], words: []),
        Case(
            description: "the mount point is not known", record: record(use: .fileSystem(.ext4, mountPoint: nil)),
            regions: [region([disk()])], words: []),
        Case(description: "a devdax device", record: record(use: .device), regions: [region([devdax()])], words: []),
        Case(
            description: "the same namespace", record: record(namespace: uuid), regions: [region([disk(uuid: uuid)])],
            words: []),
        Case(
            description: "a larger region", record: record(),
            regions: [
                DaxRegion(
                    name: "region0", source: .e820, start: 1 << 29, size: 1 << 31, alignment: nil, devices: [disk()])
            ],
            words: []),
        Case(
            description: "no memmap=", record: record(), regions: [], line: KernelCommandLine("quiet"),
            words: [
                "no persistent memory of 256M at 0x40000000", "started without memmap=256M!1G", "start the kernel with",
            ]),
        Case(
            description: "another memmap=", record: record(), regions: [], line: KernelCommandLine("memmap=255M!1G"),
            words: ["started without memmap=256M!1G"]),
        Case(
            description: "no driver", record: record(), regions: [],
            words: ["memmap=256M!1G of the kernel's command line has no region", "modprobe -a nd_pmem nd_e820"]),
        Case(
            description: "no NVDIMM", record: record(.nfit, memmap: nil), regions: [],
            words: ["no persistent memory of 256M at 0x40000000", "attach the NVDIMM"]),
        Case(
            description: "no virtio-pmem device", record: record(.virtioPmem, memmap: nil), regions: [],
            words: ["attach the virtio-pmem device"]),
        Case(
            description: "no CXL device", record: record(.cxl, memmap: nil), regions: [],
            words: ["attach the CXL device"]),
        Case(
            description: "a smaller region", record: record(),
            regions: [
                DaxRegion(name: "region0", source: .e820, start: 1 << 30, size: mib, alignment: nil, devices: [disk()])
            ],
            words: ["has no region"]),
        Case(
            description: "hidden addresses", record: record(), regions: [region([disk()], start: nil)],
            words: ["hides the addresses", "as root"]),
        Case(
            description: "not mounted", record: record(), regions: [region([disk([])])],
            words: ["/dev/pmem0 is not mounted on /pmem", "mount -o dax /dev/pmem0 /pmem"]),
        Case(
            description: "mounted elsewhere", record: record(),
            regions: [region([disk([DaxMount(point: "/mnt", rule: .always)])])],
            words: ["mounted on /mnt, and was mounted on /pmem", "mount -o dax /dev/pmem0 /pmem"]),
        Case(
            description: "without DAX", record: record(),
            regions: [region([disk([DaxMount(point: "/pmem", rule: .never)])])],
            words: ["mounted on /pmem without DAX", "mount -o dax /dev/pmem0 /pmem"]),
        Case(
            description: "no disk", record: record(), regions: [region([])], words: ["has no disk", "modprobe nd_pmem"]),
        Case(
            description: "another namespace", record: record(namespace: uuid),
            regions: [region([disk(uuid: "00000000-9cdd-4f35-a350-08c31ee5fdca")])],
            words: ["another namespace than before", "finish the sessions"]),
        Case(
            description: "no devdax device", record: record(use: .device), regions: [region([disk()])],
            words: ["no devdax device", "modprobe -a dax_pmem device_dax"]),
        Case(
            description: "ordinary memory", record: record(use: .device), regions: [region([devdax(.systemRAM)])],
            words: ["uses /dev/dax0.0 as its own memory", "modprobe.blacklist=kmem"]),
    ]

    @Test("A region that is not as it was is named, with the command", arguments: cases) func obstacle(_ one: Case)
        throws
    {
        let found = try Self.situation(one.regions, one.line).obstacle(to: one.record)
        #expect((found == nil) == one.words.isEmpty)
        for word in one.words { #expect(found?.description.contains(word) == true, "\(found?.description ?? "")") }
    }
}
