// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdate
import LiveUpdatePlatform
import SystemPackage

/// The next image.
struct AfterUpdate {
    let count: UInt64
    let page: UInt64
    let published: CInt

    func run(_ begun: Moments) throws {
        var moments = begun
        let process = try UpdatableProcess()
        moments.opened = monotonicNanoseconds()
        let session = try process.orchestrator.retrieveSession("bench")
        moments.answered = monotonicNanoseconds()
        for token in 0..<count {
            let file = try session.retrieve(token: token)
            let mapping = try Mapping(of: file.borrowed, length: page, .shared(writable: false))
            // SAFETY: the mapping has a page.
            guard unsafe mapping.bytes.load(as: UInt64.self) != 0 else {
                throw LiveUpdateError(.ioError, "file \(token) is not what it was")
            }
        }
        moments.finished = monotonicNanoseconds()
        let freeze = try process.orchestrator.status().freeze
        (moments.freezing, moments.frozen) = (freeze.start, freeze.end)
        moments.published = try PublishClock.time(in: FileDescriptor(rawValue: published))
        print(moments.line)
        try session.finish()
    }
}
