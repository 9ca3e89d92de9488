// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdate
import LiveUpdatePlatform
import SystemPackage

/// The first image.
struct BeforeUpdate {
    let first: CInt
    let count: UInt64
    let page: UInt64

    func run() throws -> Never {
        let clock = try PublishClock()
        let process = try UpdatableProcess(arena: Arena.Options(probe: clock))
        let session = try process.orchestrator.createSession("bench")
        let preserving = monotonicNanoseconds()
        for token in 0..<count { try session.preserve(file(token), token: token) }
        let numbers = [UInt64(first), count, page, preserving]
        // A program that knows its files only from retrieving them has no copies of its own.
        for token in 0..<count { try closeDescriptor(file(token)) }
        let arguments = ["luo-bench-image"] + numbers.map { "\($0)" }
        let place = "\(clock.descriptor.rawValue)"
        try process.reboot(
            into: ProgramImage(
                path: "/proc/self/exe", arguments: arguments + ["\(monotonicNanoseconds())", place]),
            unchecked: true)
    }

    private func file(_ token: UInt64) -> FileDescriptor { FileDescriptor(rawValue: first + CInt(token)) }
}
