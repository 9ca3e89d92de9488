// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateDevice
import LiveUpdateKernel
import LiveUpdatePlatform
import LiveUpdateProtocol
import Testing

@testable import luoctl

/// The fate of a file when the kernel is replaced, as luoctl shows it.
@Suite struct FileFateTests {
    @Test(
        "luoctl check shows the fate that the handler names",
        arguments: [
            (FileFate(.stays, mappable: 4 << 20), "stays", "4 MiB can be mapped by 2 MiB"),
            (FileFate(.stays, mappable: nil), "stays", "stays when the kernel is replaced"),
            (FileFate(.needsLiveUpdate, mappable: nil), "needs-luo", "unless it has LUO"),
            (FileFate(.ends, mappable: nil), "ends", "ends with the kernel; put the memory on DAX"),
        ])
    func check(_ fate: FileFate, word: String, text: String) {
        #expect(fate.word == word && fate.text.contains(text))
    }

    private static let session = LuodStatus.Session(
        number: 1, name: "vm", owner: 7, direction: "outgoing", isOpen: true, isFinished: false, isDetached: false,
        isAttached: true)

    private static func file(
        _ kernel: String?, size: UInt64? = 8192, allocated: UInt64? = 4096, problem: String? = nil
    ) -> LuodStatus.File {
        LuodStatus.File(
            token: "3", compatible: "x-v1", size: size, allocated: allocated, retrieved: 0, problem: problem,
            kernel: kernel, device: size.map { _ in 1 }, inode: size.map { _ in 2 })
    }

    struct Case: Sendable, CustomStringConvertible {
        let description: String
        let file: LuodStatus.File
        var liveUpdate = LiveUpdateCarrier.carries
        /// Nil when no carrier takes the file.
        let carrier: CarriedFile.Carrier?
    }

    static let cases = [
        Case(description: "a file on DAX", file: file("stays"), carrier: .dax),
        Case(description: "a file on DAX without LUO", file: file("stays"), liveUpdate: .missing, carrier: .dax),
        Case(description: "a memory file", file: file("needs-luo"), carrier: .liveUpdate(filling: 4096)),
        Case(
            description: "a lost memory file", file: file("needs-luo", size: nil, allocated: nil),
            carrier: .liveUpdate(filling: 0)),
        Case(
            description: "a file with more memory than size", file: file("needs-luo", allocated: 1 << 20),
            carrier: .liveUpdate(filling: 0)),
        Case(description: "a memory file without LUO", file: file("needs-luo"), liveUpdate: .missing, carrier: nil),
        Case(
            description: "a memory file that systemd would end", file: file("needs-luo"), liveUpdate: .endedBySystemd,
            carrier: nil),
        Case(description: "a file on huge pages", file: file("ends"), carrier: nil),
        Case(description: "a file of an unknown fate", file: file("flies"), carrier: nil),
        Case(description: "a file of a luod that does not say", file: file(nil), carrier: nil),
        Case(description: "a file that cannot be frozen", file: file("stays", problem: "too small"), carrier: nil),
    ]

    @Test("The carrier of a file follows from luod's word", arguments: cases) func carrier(_ one: Case) {
        let carried = CarriedFile(one.file, of: Self.session, one.liveUpdate)
        if case .none(let reason, let remedy) = carried.carrier {
            #expect(one.carrier == nil && !reason.isEmpty && !remedy.isEmpty)
        } else {
            #expect(carried.carrier == one.carrier)
        }
        #expect(carried.identity == one.file.size.map { _ in FileIdentity(device: 1, inode: 2) })
    }
}
