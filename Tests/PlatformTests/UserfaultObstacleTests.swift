// SPDX-License-Identifier: Apache-2.0
import SystemPackage
import TestSupport
import Testing

@testable import LiveUpdatePlatform

/// Kernels on which the pages of hugetlb files cannot be found, or their frames are not known.
@Suite struct UserfaultObstacleTests {
    @Test(
        arguments: [
            (SystemCallError("userfaultfd", .noFunction), UserfaultObstacle.missing),
            (SystemCallError("userfaultfd", .invalidArgument), .withoutMinorFaults),
            (SystemCallError("UFFDIO_API", .invalidArgument), .withoutMinorFaults),
            (SystemCallError("UFFDIO_REGISTER", .invalidArgument), .withoutMinorFaults),
            (SystemCallError("userfaultfd", .notPermitted), .forbidden),
            (SystemCallError("userfaultfd", .tooManyOpenFiles), nil),
            (SystemCallError("UFFDIO_CONTINUE", .noMemory), nil),
            (SystemCallError("mmap", .invalidArgument), nil), (SystemCallError("pread", .notPermitted), nil),
        ] as [(SystemCallError, UserfaultObstacle?)])
    func obstacles(_ error: SystemCallError, _ obstacle: UserfaultObstacle?) {
        #expect(UserfaultObstacle(error) == obstacle)
    }

    @Test("A failed call on this machine is an obstacle, or has another cause") func faults() {
        let found = FaultInjector.failing(call: 1, with: .noFunction) { UserfaultObstacle.ofThisMachine() }
        #expect(found.value == .missing)
        let full = FaultInjector.failing(call: 1, with: .tooManyOpenFiles) { UserfaultObstacle.ofThisMachine() }
        #expect(full.value == nil)
    }

    @Test("On a kernel without page maps, frames are 0") func withoutPageMap() throws {
        let file = try MemoryFile(bytes: [1])
        let view = try Mapping(of: file.descriptor, length: PageSize.base.bytes, .shared(writable: true))
        unsafe view.bytes.storeBytes(of: 2, toByteOffset: 0, as: UInt8.self)
        let page = view.address / PageSize.base.bytes
        var answers: [UInt64?] = []
        while true {
            let (frame, calls) = FaultInjector.failing(call: answers.count + 1, with: .noSuchFileOrDirectory) {
                try? PageFrames().frame(at: page)
            }
            if calls <= answers.count { break }
            answers.append(frame)
        }
        #expect(answers.contains(0))
    }
}
