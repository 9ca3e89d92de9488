// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCommandLine
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage

/// The report as JSON. docs/check.md has the schema. Raise the version when a field changes its meaning or is removed.
extension CheckReport {
    var json: String {
        struct Output: Encodable {
            var version = 1
            var target: String
            var accepted: Bool
            var files: [File]
        }
        let name =
            switch target {
            case .process(let id): "pid:\(id)"
            case .descriptor(let number): "fd:\(number)"
            case .path(let path): path
            }
        return jsonText(Output(target: name, accepted: isAccepted, files: subjects.map(File.init)))
    }

    private struct File: Encodable {
        struct Reason: Encodable {
            var handler: String
            var reason: String
        }

        var fd: CInt?
        var sameFileAs: CInt?
        var name: String
        var type: String
        var isMemory: Bool
        var device: UInt64
        var inode: UInt64
        var links: UInt64
        var size: UInt64
        var pageSize: UInt64?
        var dataBytes: UInt64?
        var holeBytes: UInt64?
        var extents: Int?
        var hugePages: Int?
        var seals: [String]?

        var accepted: Bool
        var handler: String?
        var flbs: [String]?
        var nanoseconds: UInt64?
        var runs: Int?
        var arenaBytes: UInt64?
        var journalBytes: UInt64?
        var kernel: String?
        var hugeMappableBytes: UInt64?

        var errno: CInt?
        var reason: String?
        var reasons: [Reason]?
        var remedy: String?

        init(_ subject: CheckSubject) {
            fd = subject.fd
            sameFileAs = subject.sameAs
            name = subject.name
            type = subject.status.type.rawValue
            isMemory = subject.kind.isMemory
            device = subject.status.identity.device
            inode = subject.status.identity.inode
            links = subject.status.links
            size = subject.status.size
            accepted = subject.isAccepted
            if let content = subject.content { describe(content, subject.status) }
            switch subject.verdict {
            case .accepted(let preserved): describe(preserved)
            case .refused(let refused): describe(refused)
            }
            remedy = subject.remedy
            kernel = subject.fate?.word
            hugeMappableBytes = subject.fate?.mappable
        }

        private mutating func describe(_ content: FileContent, _ status: FileStatus) {
            pageSize = content.pageSize.bytes
            dataBytes = content.data
            holeBytes = content.holes(status)
            if content.pageSize == .base { extents = content.pieces } else { hugePages = content.pieces }
            seals = content.seals?.names
        }

        private mutating func describe(_ preserved: Verdict.Preserved) {
            handler = preserved.handler
            flbs = preserved.flbs
            nanoseconds = preserved.median
            runs = preserved.nanoseconds.count
            arenaBytes = preserved.storedBytes
            journalBytes = preserved.journalBytes
        }

        private mutating func describe(_ refused: Verdict.Refused) {
            errno = refused.error.errno.rawValue
            reason = refused.error.reason
            reasons = refused.reasons.map { Reason(handler: $0.handler, reason: $0.reason) }
        }
    }
}
