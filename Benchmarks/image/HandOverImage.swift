// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdate
import LiveUpdatePlatform
import SystemPackage

/// Both processes of a hand-over.
///
/// 1. The first process preserves the files FIRST ... FIRST + COUNT - 1, and hands over to this program.
/// 2. The image retrieves them, reads one word of each (in a page of PAGE bytes), and prints four times: the beginning
///    and the end of the freeze, the answer to the first request, and the end.
struct HandOverImage {
    let first: CInt
    let count: UInt64
    let page: UInt64

    func run() throws {
        let process = try UpdatableProcess()
        if process.isWaiting { try takeOver(process) } else { try handOver(process) }
    }

    private func handOver(_ process: UpdatableProcess) throws {
        let session = try process.orchestrator.createSession("bench")
        for token in 0..<count { try session.preserve(file(token), token: token) }
        // A program that has retrieved its files has no other copies of the descriptors.
        for token in 0..<count { try closeDescriptor(file(token)) }
        let image = ProgramImage(path: "/proc/self/exe", arguments: CommandLine.arguments)
        try process.handOver(to: image).complete()
    }

    private func takeOver(_ process: UpdatableProcess) throws {
        process.ready()
        let session = try process.orchestrator.retrieveSession("bench")
        let answered = monotonicNanoseconds()
        for token in 0..<count {
            let file = try session.retrieve(token: token)
            let mapping = try Mapping(of: file.borrowed, length: page, .shared(writable: false))
            // SAFETY: the mapping has a page.
            guard unsafe mapping.bytes.load(as: UInt64.self) != 0 else {
                throw LiveUpdateError(.ioError, "file \(token) is not what it was")
            }
        }
        let finished = monotonicNanoseconds()
        let freeze = try process.orchestrator.status().freeze
        print("\(freeze.start) \(freeze.end) \(answered) \(finished)")
        try session.finish()
    }

    private func file(_ token: UInt64) -> FileDescriptor { FileDescriptor(rawValue: first + CInt(token)) }
}
