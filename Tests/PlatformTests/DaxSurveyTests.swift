// SPDX-License-Identifier: Apache-2.0
import Foundation
import LiveUpdatePlatform
import TestSupport
import Testing

/// Regions as the kernel shows them: the files were read in a virtual machine with Linux 6.1.
@Suite struct DaxSurveyTests {
    /// A part of /sys, /proc and /dev in a directory.
    private final class Machine {
        let directory: TemporaryDirectory
        var root: String { directory.path }

        init() throws { directory = try TemporaryDirectory() }

        func write(_ path: String, _ text: String) throws {
            let url = URL(fileURLWithPath: root + path)
            try FileManager.default.createDirectory(
                at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(text.utf8).write(to: url)
        }

        func link(_ path: String, _ target: String) throws {
            let url = URL(fileURLWithPath: root + path)
            try FileManager.default.createDirectory(
                at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
            try FileManager.default.createSymbolicLink(atPath: url.path, withDestinationPath: target)
        }

        /// A region, and its bus.
        func addRegion(_ number: Int, _ provider: String, at place: String, start: UInt64?, size: UInt64) throws {
            let devices = "/sys/devices/\(place)"
            try write("\(devices)/region\(number)/size", "\(size)\n")
            try write("\(devices)/region\(number)/align", "0x1000000\n")
            if let start { try write("\(devices)/region\(number)/resource", "0x\(String(start, radix: 16))\n") }
            try link("/sys/bus/nd/devices/region\(number)", "../../../devices/\(place)/region\(number)")
            let bus = place.split(separator: "/").last ?? ""
            try write("/sys/bus/nd/devices/\(bus)/provider", "\(provider)\n")
        }

        func addDisk(_ name: String, at place: String, device: String, start: UInt64, size: UInt64, dax: Int) throws {
            let path = "/sys/devices/\(place)/block/\(name)"
            try write("\(path)/size", "\(size / 512)\n")
            try write("\(path)/dev", "\(device)\n")
            try write("\(path)/queue/dax", "\(dax)\n")
            try write("/sys/devices/\(place)/resource", "0x\(String(start, radix: 16))\n")
            try link("\(path)/device", "../..")
            try link("/sys/block/\(name)", "../devices/\(place)/block/\(name)")
        }

        func addDevdax(_ name: String, at place: String, start: UInt64, size: UInt64, driver: String) throws {
            let path = "/sys/devices/\(place)/\(name)"
            try write("\(path)/size", "\(size)\n")
            try write("\(path)/align", "2097152\n")
            try write("\(path)/resource", "0x\(String(start, radix: 16))\n")
            try link("\(path)/driver", "../../../bus/dax/drivers/\(driver)")
            try link("/sys/bus/dax/devices/\(name)", "../../../devices/\(place)/\(name)")
        }
    }

    private static let e820 = "platform/e820_pmem/ndbus0"
    private static let mib: UInt64 = 1 << 20

    @Test func aMachineWithoutRegionsHasNone() throws {
        let machine = try Machine()
        #expect(try DaxSurvey.regions(root: machine.root) == [])
    }

    @Test func aVirtioDeviceWithoutItsDriverIsFound() throws {
        let machine = try Machine()
        #expect(!DaxSurvey.hasIdleVirtioPmem(root: machine.root))
        let devices = "/sys/bus/virtio/devices"
        // A disk without a driver, and a virtio-pmem device with its driver.
        try machine.write("\(devices)/virtio0/device", "0x0002\n")
        try machine.write("\(devices)/virtio1/device", "0x001b\n")
        try machine.link("\(devices)/virtio1/driver", "../../drivers/virtio_pmem")
        #expect(!DaxSurvey.hasIdleVirtioPmem(root: machine.root))
        try machine.write("\(devices)/virtio2/device", "0x001b\n")
        #expect(DaxSurvey.hasIdleVirtioPmem(root: machine.root))
    }

    @Test func aFileSystemIsOnARegion() throws {
        let machine = try Machine()
        try machine.addRegion(0, "e820", at: Self.e820, start: 1 << 30, size: 256 * Self.mib)
        try machine.addDisk(
            "pmem0", at: "\(Self.e820)/region0/namespace0.0", device: "259:1", start: 1 << 30, size: 256 * Self.mib,
            dax: 1)
        try machine.write(
            "/proc/self/mountinfo",
            """
            28 1 0:5 / /dev rw - devtmpfs dev rw
            29 1 259:1 / /mnt/a\\040b rw,relatime shared:1 - ext4 /dev/pmem0 rw,dax=always
            30 1 259:1 / /mnt/c ro - ext4 /dev/pmem0 rw,dax=always

            """)
        let mounts = [DaxMount(point: "/mnt/a b", rule: .always), DaxMount(point: "/mnt/c", rule: .always)]
        let region = try #require(try DaxSurvey.regions(root: machine.root).first)
        #expect(region.name == "region0")
        #expect(region.source == .e820)
        #expect(region.range == 1 << 30..<(1 << 30) + 256 * Self.mib)
        #expect(region.alignment == 16 * Self.mib)
        #expect(region.isUsed)
        #expect(region.devices.map(\.name) == ["pmem0"])
        #expect(region.devices.first?.content == .fileSystem(type: "ext4", mounts: mounts))
        #expect(region.devices.first?.allowsDAX == true)
        #expect(region.devices.first?.size == 256 * Self.mib)
    }

    @Test(arguments: [
        ("rw,dax", DaxMount.Rule.always), ("rw,dax=inode", .inode), ("rw", .inode), ("rw,dax=never", .never),
    ])
    func optionsAreTheRule(options: String, rule: DaxMount.Rule) throws {
        let machine = try Machine()
        try machine.addRegion(0, "e820", at: Self.e820, start: 0, size: Self.mib)
        try machine.addDisk(
            "pmem0", at: "\(Self.e820)/region0/pfn0.0", device: "259:0", start: 0, size: Self.mib, dax: 1)
        // The mount is that of a partition.
        try machine.write("/sys/block/pmem0/pmem0p1/dev", "259:7\n")
        try machine.write("/proc/self/mountinfo", "29 1 259:7 / /mnt rw - xfs /dev/pmem0p1 \(options)\n")
        let content = try DaxSurvey.regions(root: machine.root).first?.devices.first?.content
        #expect(content == .fileSystem(type: "xfs", mounts: [DaxMount(point: "/mnt", rule: rule)]))
    }

    @Test func contentWithoutAMountIsRecognized() throws {
        var ext4 = [UInt8](repeating: 0, count: 4096)
        ext4[1080] = 0x53
        ext4[1081] = 0xEF
        let cases: [([UInt8]?, DaxDevice.Content, Bool)] = [
            (ext4, .fileSystem(type: "ext4", mounts: []), true),
            (Array("XFSB".utf8) + ext4, .fileSystem(type: "xfs", mounts: []), true),
            ([UInt8](repeating: 0, count: 4096), .empty, false), ([UInt8](repeating: 7, count: 4096), .unknown, true),
            (nil, .unknown, true),
        ]
        for (bytes, content, isUsed) in cases {
            let machine = try Machine()
            try machine.addRegion(0, "e820", at: Self.e820, start: 0, size: Self.mib)
            try machine.addDisk(
                "pmem0", at: "\(Self.e820)/region0/namespace0.0", device: "259:1", start: 0, size: Self.mib, dax: 1)
            if let bytes { try machine.write("/dev/pmem0", String(decoding: bytes.map { $0 & 0x7F }, as: UTF8.self)) }
            if let bytes { try Data(bytes).write(to: URL(fileURLWithPath: "\(machine.root)/dev/pmem0")) }
            let region = try DaxSurvey.regions(root: machine.root).first
            #expect(region?.devices.first?.content == content)
            #expect(region?.isUsed == isUsed)
        }
    }

    @Test func everySourceIsNamed() throws {
        let machine = try Machine()
        try machine.addRegion(10, "CXL", at: "platform/ACPI0017:00/ndbus3", start: 5 << 30, size: Self.mib)
        try machine.addRegion(2, "e820", at: Self.e820, start: nil, size: 256 * Self.mib)
        try machine.addDevdax(
            "dax2.0", at: "\(Self.e820)/region2/dax2.0", start: 0xa060_0000, size: 250 * Self.mib, driver: "device_dax")
        try machine.addRegion(
            3, "ACPI.NFIT", at: "LNXSYSTM:00/LNXSYBUS:00/ACPI0012:00/ndbus1", start: 5 << 30, size: Self.mib)
        try machine.addRegion(
            4, "virtio-pmem", at: "pci0000:00/0000:00:02.0/virtio0/ndbus2", start: 6 << 30, size: Self.mib)
        try machine.addDevdax("dax5.0", at: "platform/hmem.0", start: 7 << 30, size: Self.mib, driver: "kmem")
        try machine.addDevdax(
            "dax6.0", at: "platform/ACPI0017:00/root0/decoder0.0/region0/dax_region0", start: 8 << 30, size: Self.mib,
            driver: "device_dax")
        try machine.write("/sys/devices/\(Self.e820)/region2/dax2.0/uuid", "49614ed4-9cdd-4f35-a350-08c31ee5fdca\n")
        // A seed of libnvdimm, which is no device yet.
        try machine.link("/sys/bus/nd/devices/dax2.1", "../../../devices/\(Self.e820)/region2/dax2.1")
        let regions = try DaxSurvey.regions(root: machine.root)
        #expect(regions.map(\.name) == ["region2", "region3", "region4", "region10", "dax5.0", "dax6.0"])
        #expect(regions.map(\.source) == [.e820, .nfit, .virtioPmem, .cxl, .softReserved, .cxl])
        #expect(regions[0].range == nil)
        #expect(regions[0].devices.first?.start == 0xa060_0000)
        #expect(regions[0].devices.first?.content == .device(alignment: 2 * Self.mib))
        #expect(regions[0].devices.first?.uuid == "49614ed4-9cdd-4f35-a350-08c31ee5fdca")
        #expect(regions[5].devices.first?.uuid == nil)
        #expect(regions[4].devices.first?.content == .systemRAM)
        #expect(regions.map(\.isUsed) == [true, false, false, false, false, true])
    }
}
