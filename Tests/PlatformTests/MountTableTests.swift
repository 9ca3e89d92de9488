// SPDX-License-Identifier: Apache-2.0
import Glibc
import SystemPackage
import TestSupport
import Testing

@testable import LiveUpdatePlatform

@Suite struct MountTableTests {
    private static func mount(_ line: String) -> Mount? { Mount(line: [UInt8](line.utf8)[...]) }

    @Test(arguments: [
        ("40 31 0:37 / /mnt/huge rw,relatime shared:1 - hugetlbfs none rw,pagesize=2M", "/mnt/huge", "hugetlbfs", 37),
        ("40 31 0:37 / /mnt rw - tmpfs none rw", "/mnt", "tmpfs", 37),
        ("40 31 0:37 / /mnt rw a:1 b:2 c - tmpfs none rw", "/mnt", "tmpfs", 37),
        ("40 31 0:37 / /mnt rw - tmpfs", "/mnt", "tmpfs", 37),
        (#"40 31 8:1 / /a\040b\134c\012 rw - ext4 /dev/sda1 rw"#, "/a b\\c\n", "ext4", 0x801),
        (#"40 31 0:37 /\040 /\011-\134040 rw - tmpfs - -"#, "/\t-\\040", "tmpfs", 37),
        (#"40 31 0:37 / /-/- rw - fuse.a-b - rw"#, "/-/-", "fuse.a-b", 37),
    ])
    func lines(_ line: String, _ point: String, _ type: String, _ device: UInt64) throws {
        let mount = try #require(Self.mount(line))
        #expect([mount.point.string, mount.type] == [point, type])
        #expect(mount.device == device)
        #expect(mount.number == 40 && mount.parent == 31)
    }

    @Test(arguments: [
        "", " ", "40", "40 31 0:37 / /mnt rw", "40 31 0:37 / /mnt rw -", "40 31 0:37 / /mnt rw - ",
        "40 31 x:37 / /mnt rw - tmpfs none rw", "40 31 0:x / /mnt rw - tmpfs none rw",
        "40 31 37 / /mnt rw - tmpfs none rw", "40 31 0:1:2 / /mnt rw - tmpfs none rw",
        " 40 31 0:37 / /mnt rw - tmpfs none rw", "-40 31 0:37 / /mnt rw - tmpfs none rw",
        "40 99999999999999999999 0:37 / /mnt rw - tmpfs none rw", "40 31 0:37 / /mnt rw shared:1 tmpfs none rw",
    ])
    func noLines(_ line: String) { #expect(Self.mount(line) == nil) }

    @Test(
        "A backslash without three octal digits of a byte is an ordinary character",
        arguments: [#"/a\"#, #"/a\04"#, #"/a\048"#, #"/a\400"#, #"/a\x20"#])
    func noEscapes(_ point: String) { #expect(Self.mount("1 2 0:3 / \(point) rw - a b c")?.point.string == point) }

    @Test("A mount point need not be UTF-8, by itself or after an escape")
    func bytes() {
        let line = Array("1 2 0:3 / /".utf8) + [0xFF, 0xC3] + Array(#"\303\377 rw - a b c"#.utf8)
        #expect(Mount(line: line[...])?.pointBytes == [UInt8(ascii: "/"), 0xFF, 0xC3, 0xC3, 0xFF])
    }

    @Test("A long line and many lines are read") func long() throws {
        let point = "/" + String(repeating: #"d\040/"#, count: 1000)
        let options = (0..<10_000).map { "master:\($0)" }.joined(separator: " ")
        let line = "1 2 0:3 / \(point) rw \(options) - tmpfs none rw"
        let mount = try #require(Self.mount(line))
        #expect(mount.pointBytes.count == 3001 && mount.type == "tmpfs")
        let table = [line, "", "no mount", line].joined(separator: "\n")
        #expect(Mount.all(in: Array(table.utf8)) == [mount, mount])
        let many = (0..<5000).map { "\($0) 1 0:\($0) / /\($0) rw - tmpfs none rw\n" }.joined()
        #expect(Mount.all(in: Array(many.utf8)).map(\.number) == (0..<5000).map { UInt64($0) })
    }

    @Test("A mount over another mount comes after it, with its own number") func overmounts() {
        let table = "1 0 0:1 / / rw - a b c\n2 1 0:2 / /x rw - a b c\n3 2 0:3 / /x rw - a b c\n"
        let mounts = Mount.all(in: Array(table.utf8))
        #expect(mounts.map(\.number) == [1, 2, 3] && mounts.map(\.parent) == [0, 1, 2])
        #expect(mounts[1].point == mounts[2].point)
    }

    @Test func theSystemsOwn() throws {
        let proc = try #require(try Mount.all().last { $0.point == "/proc" })
        #expect(proc.type == "proc")
        #expect(try FileStatus(at: "/proc").identity.device == proc.device)
    }

    @Test(
        "Device numbers are encoded as by makedev(3)",
        arguments: [
            (0, 17, 17), (8, 1, 2049), (259, 70000, 286_327_664), (4095, 255, 1_048_575), (5000, 1, 17_592_186_275_841),
        ])
    func devices(major: UInt64, minor: UInt64, device: UInt64) {
        #expect(deviceNumber(major: major, minor: minor) == device)
    }
}

/// A cached table, which is read again only after a change. Each test mounts file systems in its own process.
@Suite(.requiresRoot) struct KeptMountTableTests {
    /// The number of calls that can fail in one look at the table.
    private static func calls(_ table: MountTable) -> Int {
        FaultInjector.failing(call: 0) { _ = try? table.mounts() }.calls
    }

    /// The number of open descriptors of mount tables in this process.
    private static func openTables() throws -> Int {
        try openDescriptors().count { descriptor in
            (try? linkTarget("/proc/self/fd/\(descriptor)"))?.hasSuffix("/mountinfo") == true
        }
    }

    @Test("A table is read after each mount and unmount, and only then") func changes() async {
        await #expect(processExitsWith: .success) {
            let directory = try MountNamespace.enter()
            let table = MountTable()
            #expect(Self.calls(table) > 1)
            for number in 0..<3 {
                #expect(Self.calls(table) == 0, "an unchanged table is not read")
                let point = directory.appending("\(number) \\")
                try MountNamespace.mount("tmpfs", at: point)
                #expect(try table.mounts().last?.point == point)
                #expect(try table.mounts() == Mount.all())
                #expect(Self.calls(table) == 0)
                try MountNamespace.mount("ramfs", at: point)
                #expect(try table.mounts().filter { $0.point == point }.map(\.type) == ["tmpfs", "ramfs"])
                _ = unsafe point.withPlatformString { unsafe umount2($0, 0) }
                #expect(try table.mounts() == Mount.all())
                #expect(try table.mounts().last { $0.point == point }?.type == "tmpfs")
            }
        }
    }

    @Test("A thread in another mount namespace gets its own table, after the other one is forgotten")
    func namespaces() async {
        await #expect(processExitsWith: .success) {
            let table = MountTable()
            let before = try table.mounts()
            let other = Threads.start {
                guard let directory = try? MountNamespace.enter() else { return }
                #expect((try? table.mounts()) == before)
                #expect(table.forgetIfForeign())
                #expect((try? table.mounts().last?.point) == directory)
                #expect(!table.forgetIfForeign())
            }
            other.join()
            #expect(table.forgetIfForeign())
            #expect(try table.mounts() == before)
        }
    }

    @Test("After an error the table is read from the start") func faults() async {
        await #expect(processExitsWith: .success) {
            let directory = try MountNamespace.enter()
            var table = MountTable()
            var number = 0
            var isReached = true
            while isReached {
                number += 1
                _ = try table.mounts()
                let point = directory.appending("\(number)")
                try MountNamespace.mount("tmpfs", at: point)
                let run = FaultInjector.failing(call: number) { (try? table.mounts()) == nil }
                isReached = run.calls >= number
                #expect(run.value == isReached)
                #expect(try table.mounts().last?.point == point, "the change is not forgotten")
                #expect(try Self.openTables() == 1)
            }
            #expect(number > 2)
            table = MountTable()
            #expect(try Self.openTables() == 0)
        }
    }
}
