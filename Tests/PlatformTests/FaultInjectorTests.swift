// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

@Suite struct FaultInjectorTests {
    private let file: MemoryFile

    init() throws { file = try MemoryFile() }

    /// Makes three system calls, and returns the error of each.
    private func threeCalls() -> [Errno?] {
        (0..<3).map { _ in
            do throws(SystemCallError) {
                _ = try FileStatus(of: file.descriptor)
                return nil
            } catch {
                return error.errno
            }
        }
    }

    @Test func onlyTheNumberedCallFails() {
        let run = FaultInjector.failing(call: 2, with: .noSpace) { threeCalls() }
        #expect(run.value == [nil, .noSpace, nil])
        #expect(run.calls == 3)
    }

    @Test func stickyFaultsStay() {
        let run = FaultInjector.failing(call: 2, with: .noMemory, fromThenOn: true) { threeCalls() }
        #expect(run.value == [nil, .noMemory, .noMemory])
    }

    @Test func zeroOnlyCounts() {
        let run = FaultInjector.failing(call: 0) { threeCalls() }
        #expect(run.value == [nil, nil, nil])
        #expect(run.calls == 3)
    }

    @Test func otherThreadsAreLeftAlone() {
        let other = Guarded<[Errno?]>([])
        _ = FaultInjector.failing(call: 1, fromThenOn: true) {
            Threads.run(1) { [self] _ in other.with { $0 = threeCalls() } }
        }
        #expect(other.with { $0 } == [nil, nil, nil])
    }

    @Test func nothingFailsAfterwards() {
        _ = FaultInjector.failing(call: 1, fromThenOn: true) {}
        #expect(threeCalls() == [nil, nil, nil])
    }

    @Test("A close with an injected error has closed nevertheless: a second close could close another descriptor")
    func closeIsDoneAndThenFails() throws {
        let descriptor = try file.duplicate().release()
        let run = FaultInjector.failing(call: 1, with: .ioError) {
            do throws(SystemCallError) {
                try closeDescriptor(descriptor)
                return Errno?.none
            } catch {
                return error.errno
            }
        }
        #expect(run.value == .ioError)
    }

    @Test func theErrorNamesItsCall() {
        let bad = FileDescriptor(rawValue: -1)
        #expect(throws: SystemCallError("fstat", .badFileDescriptor)) { try FileStatus(of: bad) }
        #expect(SystemCallError("fstat", .badFileDescriptor).description.hasPrefix("fstat: "))
    }
}
