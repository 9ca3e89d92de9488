// SPDX-License-Identifier: Apache-2.0
import LiveUpdateDeviceTree
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// Trees printed as dts source.
@Suite struct SourceTests {
    @Test func aTree() throws {
        let source = try DeviceTreeReader(RoundTripTests.sample.flattened()).source
        #expect(
            source == """
                /dts-v1/;

                / {
                \tcompatible = "kho-v1";
                \tempty = [00];
                \tnumber = <0x08070605 0x04030201>; /* 72623859790382856 */
                \tLUO {
                \t\tfdt = <0x00100000 0x00000000>; /* 4096 */
                \t};
                \tluo-flb {
                \t\tfdt = <0xffffffff 0xffffffff>; /* 18446744073709551615 */
                \t\tleaf {
                \t\t\tzero = <0x00000000 0x00000000>; /* 0 */
                \t\t};
                \t};
                };

                """)
    }

    @Test(
        "dtc(1) compiles sources to the same tree", .enabled(if: DeviceTreeCompiler.isWanted, "dtc is not installed"))
    func compiled() throws {
        let trees = [
            RoundTripTests.sample,
            DeviceTreeNode(
                "", [("text", .string(#"quotes " and \ back"#)), ("line", .string("a\nb")), ("utf", .string("ü"))]),
        ]
        for tree in trees {
            let flattened = try tree.flattened()
            let again = try DeviceTreeCompiler.compiled(try DeviceTreeReader(flattened).source)
            #expect(try DeviceTreeCompiler.source(of: again) == DeviceTreeCompiler.source(of: flattened))
        }
    }

    @Test("The source of any tree is printable, and not longer than necessary")
    func damagedTrees() throws {
        let tree = try RoundTripTests.sample.flattened()
        var generator = SeededGenerator(seed: announcedSeed("sources of damaged trees"))
        var readable = 0
        for _ in 0..<Scale.count(20_000) {
            var damaged = tree
            for _ in 0...generator.index(below: 3) {
                damaged[generator.index(below: tree.count)] = UInt8.random(in: 0...255, using: &generator)
            }
            guard let reader = try? DeviceTreeReader(damaged) else { continue }
            readable += 1
            let source = reader.source
            #expect(source.utf8.allSatisfy { (0x20..<0x7F).contains($0) || $0 == 9 || $0 == 10 })
            #expect(source.utf8.count < 16 * tree.count)
        }
        #expect(readable > 0)
    }
}
