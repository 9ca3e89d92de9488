// SPDX-License-Identifier: Apache-2.0
import LiveUpdateDeviceTree
import TestSupport
import Testing

@Suite("dtc(1) reads our trees", .enabled(if: DeviceTreeCompiler.isWanted, "dtc is not installed"))
struct CompilerTests {
    @Test func theCompilerReadsWhatWeWrote() throws {
        let source = try DeviceTreeCompiler.source(of: RoundTripTests.sample.flattened())
        #expect(
            source == [
                "/dts-v1/;", "/ {", "compatible = \"kho-v1\";", "empty = [00];",
                "number = \(DeviceTreeCompiler.cells(0x0102_0304_0506_0708));", "LUO {",
                "fdt = \(DeviceTreeCompiler.cells(4096));", "};", "luo-flb {",
                "fdt = \(DeviceTreeCompiler.cells(.max));", "leaf {", "zero = <0x00 0x00>;", "};", "};", "};",
            ] || source.contains("empty = \"\";"), "\(source)")
    }

    @Test func theCompilerRefusesWhatIsNoTree() {
        #expect(throws: (any Error).self) { try DeviceTreeCompiler.source(of: [UInt8](repeating: 7, count: 64)) }
    }
}
