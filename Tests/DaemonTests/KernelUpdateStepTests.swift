// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage
import Testing

@testable import LiveUpdateDaemon

/// The decisions about a kernel update.
@Suite struct KernelUpdateStepTests {
    private typealias Situation = KernelUpdateStep.Situation
    private static let loss = KernelUpdateRefusal("2 files", .notSupported)
    private static let failure = KernelUpdateRefusal("no memory", .noMemory)

    @Test("Each request has one step", arguments: situations) func step(
        situation: KernelUpdateStep.Situation, expected: KernelUpdateStep
    ) {
        #expect(KernelUpdateStep(situation) == expected)
    }

    private static let situations: [(KernelUpdateStep.Situation, KernelUpdateStep)] = [
        (Situation(flags: 0), .publish),
        (Situation(flags: UpdateCall.leaveOut | UpdateCall.discard), .publish),
        (Situation(flags: 0, carriesMemory: true), .prepare),
        (Situation(flags: 0, preparation: .done, carriesMemory: true), .publish),
        (Situation(flags: 0, preparation: .failed(failure), carriesMemory: true), .refuse(failure)),
        (
            Situation(flags: 0, preparation: .ofOther(process: 7), carriesMemory: true),
            .refuse(.otherKernelUpdate(process: 7))
        ),
        (Situation(flags: 0, loss: loss, carriesMemory: true), .refuse(loss)),
        // Files may have been preserved while the thread worked.
        (Situation(flags: 0, loss: loss, preparation: .done, carriesMemory: true), .refuse(loss)),
        (Situation(flags: UpdateCall.atEnd, carriesMemory: true), .publishAtEnd),
        (Situation(flags: UpdateCall.atEnd, preparation: .ofOther(process: 7)), .publishAtEnd),
        (Situation(flags: UpdateCall.atEnd, loss: loss), .refuse(loss)),
        (Situation(flags: UpdateCall.onlyAsk | UpdateCall.atEnd, carriesMemory: true), .answer),
        (Situation(flags: UpdateCall.onlyAsk, loss: loss), .refuse(loss)),
        (Situation(flags: UpdateCall.forget, isUpdateUnderWay: true, loss: loss), .forget),
        (Situation(flags: UpdateCall.confirm), .refuse(.notPublished)),
        (Situation(flags: UpdateCall.confirm, preparation: .done), .refuse(.notPublished)),
        (Situation(flags: 0, isUpdateUnderWay: true), .refuse(.updateUnderWay)),
        (Situation(flags: 0, isUpdateUnderWay: true, preparation: .done), .refuse(.updateUnderWay)),
        (Situation(flags: 0, hasClientGone: true, preparation: .done), .refuse(.clientGone)),
        (Situation(flags: 4 | UpdateCall.forget), .refuse(.unknownFlags)),
        (Situation(flags: 1 << 31), .refuse(.unknownFlags)),
    ]

    private static func file(_ slot: Int64, _ inode: UInt64) -> KernelSelection.File {
        KernelSelection.File(slot: DescriptorSlot(slot), identity: FileIdentity(device: 1, inode: inode))
    }

    private static func identity(_ inode: UInt64) -> FileIdentity { FileIdentity(device: 1, inode: inode) }

    @Test("The kernel gets each file once, and a file with another identity again") func selection() {
        let files = [Self.file(1, 10), Self.file(2, 11), Self.file(3, 10), Self.file(4, 12)]
        func gifts(_ given: [FileIdentity: UInt64], leftOut: Set<FileIdentity> = []) -> [[UInt64]] {
            KernelSelection(files, given: given, leftOut: leftOut, lastToken: 5).gifts.map {
                [UInt64($0.index), $0.identity.inode, $0.token]
            }
        }
        #expect(gifts([:]) == [[0, 10, 6], [1, 11, 7], [3, 12, 8]])
        #expect(gifts([Self.identity(10): 1]) == [[1, 11, 6], [3, 12, 7]])
        #expect(gifts([Self.identity(10): 1], leftOut: [Self.identity(12)]) == [[1, 11, 6]])
        // The session of the kernel still has file 99, which was unpreserved. Its token is not used again.
        #expect(gifts([Self.identity(99): 2]) == [[0, 10, 6], [1, 11, 7], [3, 12, 8]])
    }

    @Test("The list names the slots that are there, and no file that is gone or was left out") func carried() {
        let files = [Self.file(1, 10), Self.file(3, 10), Self.file(4, 12)]
        let carried = KernelSelection.carried(files, given: [Self.identity(10): 6, Self.identity(99): 7])
        #expect(carried.map(\.slot.number) == [1, 3])
        #expect(carried.map(\.token) == [6, 6])
    }

    private typealias Role = ControlMessage.Role

    @Test(
        "Each orchestrator has one role",
        arguments: [
            // Whether an orchestrator has died, died in an update, too many have died, the kernel, a store, the role.
            (false, false, false, .unknown, false, .first), (false, false, false, .unknown, true, .restored),
            (false, false, false, .same, false, .restored), (false, false, false, .same, true, .restored),
            (false, false, false, .other, false, .afterKernel), (false, false, false, .other, true, .afterKernel),
            (true, false, false, .same, false, .successor), (true, true, false, .same, false, .successorInUpdate),
            (true, false, false, .unknown, false, .successor), (true, true, false, .other, false, .afterKernel),
            (true, true, true, .other, false, .refusing), (true, false, true, .same, false, .refusing),
        ] as [(Bool, Bool, Bool, KernelRecord.Comparison, Bool, ControlMessage.Role)])
    func role(
        replacing: Bool, wasInUpdate: Bool, mustRefuse: Bool, kernel: KernelRecord.Comparison, isRestored: Bool,
        expected: ControlMessage.Role
    ) {
        #expect(
            Role(
                replacing: replacing, wasInUpdate: wasInUpdate, mustRefuse: mustRefuse, kernel: kernel,
                isRestored: isRestored) == expected)
    }
}
