// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform
import Testing

@Suite struct KernelCommandLineTests {
    @Test(arguments: [
        ("quiet root=/dev/vda1\n", ["quiet", "root=/dev/vda1"]), ("  a\t b ", ["a", "b"]), ("", []),
        (#"a="b c" d"#, [#"a="b c""#, "d"]), (#""a=b c" d"#, [#""a=b c""#, "d"]), (#"a="b c"#, [#"a="b c"#]),
    ])
    func whiteSpaceSeparatesArguments(text: String, arguments: [String]) {
        let line = KernelCommandLine(text)
        #expect(line.arguments.map(\.text) == arguments)
        #expect(KernelCommandLine(line.description) == line)
    }

    @Test func quotesBelongToNoValue() {
        let line = KernelCommandLine(#"a="b c" "d=e f" g= h"#)
        #expect(line.values("a") == ["b c"])
        #expect(line.values("d") == ["e f"])
        #expect(line.values("g") == [""])
        #expect(line.values("h") == [nil])
        #expect(line.values("i") == [])
    }

    @Test func hyphensAndUnderscoresAreTheSame() {
        #expect(KernelCommandLine("a-b=1 a_b=2").values("a_b") == ["1", "2"])
    }

    @Test func argumentsOfTheFirstProcessStayBehindTheKernels() {
        let line = KernelCommandLine("quiet -- --option kho=on").appending(KernelCommandLine("kho=off -- last"))
        #expect("\(line)" == "quiet kho=off -- --option kho=on last")
        #expect(!line.isOn("kho"))
    }

    @Test(arguments: [
        ("kho=on", true), ("kho=1", true), ("kho=y", true), ("kho=off", false), ("kho=0", false), ("kho=n", false),
        ("kho", false), ("", false), ("kho=on kho=off", false), ("kho=off kho=on", true), ("kho=", false),
    ])
    func theLastArgumentSwitches(text: String, isOn: Bool) { #expect(KernelCommandLine(text).isOn("kho") == isOn) }

    @Test func argumentsOfTheBootLoaderDoNotGoOn() {
        let line = KernelCommandLine("BOOT_IMAGE=/vmlinuz root=/dev/vda1 initrd=\\initrd.img ro")
        #expect("\(line.forNextKernel)" == "root=/dev/vda1 ro")
    }

    @Test(arguments: [
        ("64G!4G", Memmap(.persistent, 4 << 30..<68 << 30), "64G!4G"),
        ("512m$0x20000000", Memmap(.reserved, 512 << 20..<1 << 30), "512M$512M"),
        ("1T@1T", Memmap(.usable, 1 << 40..<2 << 40), "1T@1T"), ("4096#010", Memmap(.acpi, 8..<4104), "4K#8"),
        ("1536M!2560M", Memmap(.persistent, 2560 << 20..<4 << 30), "1536M!2560M"),
    ])
    func memmapIsARange(text: String, memmap: Memmap, shown: String) {
        #expect(Memmap(text) == memmap)
        #expect(memmap.description == shown)
        #expect(Memmap(shown) == memmap)
    }

    @Test(arguments: [
        "exactmap", "", "64G", "64G!", "!4G", "64G!4Gx", "0!4G", "64G!99999999999999999999", "1G%4G-1+2",
        "16E!1", "1G!16E", "17E!0",
    ])
    func otherTextIsNoRange(text: String) { #expect(Memmap(text) == nil) }

    @Test func allRangesAreFound() {
        let line = KernelCommandLine("memmap=exactmap memmap=1G!4G,2G$8G quiet memmap=3G@16G")
        #expect(line.memmaps.map(\.description) == ["1G!4G", "2G$8G", "3G@16G"])
    }
}
