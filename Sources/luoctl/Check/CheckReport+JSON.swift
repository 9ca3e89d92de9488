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
            var mappings: [Mapping]?
            var privateAnonymousBytes: UInt64?
            var unseen: [UnseenFile]?
        }
        let name =
            switch target {
            case .process(let id): "pid:\(id)"
            case .descriptor(let number): "fd:\(number)"
            case .path(let path): path
            }
        return jsonText(
            Output(
                target: name, accepted: isAccepted, files: subjects.map { File($0) },
                mappings: mapped.map(Self.mappings),
                privateAnonymousBytes: mapped?.anonymous, unseen: mapped.map { _ in found.unseen }))
    }

    private static func mappings(_ mapped: MappedMemory) -> [Mapping] {
        mapped.shared.map { Mapping($0, kind: "shared") }
            + mapped.overFiles.map { Mapping($0, kind: "private-over-file", remedy: MappedMemory.remedyOverFile) }
    }

    /// A file that is mapped, by its first area.
    private struct Mapping: Encodable {
        var address: String
        var end: String
        var areas: Int
        var bytes: UInt64
        var kind: String
        var name: String
        var device: UInt64
        var inode: UInt64
        var ownBytes: UInt64
        var accepted: Bool
        var file: File?
        var reason: String?
        var remedy: String?

        /// Private pages have a remedy of their own, and are not accepted whatever their file is.
        init(_ mapped: MappedFile, kind: String, remedy: String? = nil) {
            let area = mapped.group.first
            address = mapped.address
            end = "0x" + String(area.range.upperBound, radix: 16)
            areas = mapped.group.areas.count
            bytes = mapped.group.bytes
            self.kind = kind
            name = mapped.name
            device = area.file.device
            inode = area.file.inode
            ownBytes = mapped.group.ownBytes
            accepted = mapped.isAccepted && remedy == nil
            file = (try? mapped.subject.get()).map { File($0) }
            reason = mapped.problem?.reason
            self.remedy = remedy ?? mapped.problem?.remedy
            if remedy != nil { reason = "the data of written pages is not in the file" }
        }
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
