// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCommandLine
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage

/// The result for one file of `luoctl verify`.
struct VerifiedFile: Equatable, Encodable {
    enum State: String, Encodable {
        case same, different
        case notCompared = "not compared"
    }

    /// A run of bytes in which the content differs.
    struct Difference: Equatable, Encodable {
        let offset: UInt64
        let length: UInt64
        /// The numbers of the first and the last page of the run, counted from 0.
        let firstPage: UInt64
        let lastPage: UInt64
    }

    let session: String
    let direction: String
    let token: String
    let state: State
    /// Present for files that were compared.
    var size: UInt64?
    var blockSize: UInt64?
    var pageSize: UInt64?
    var differences: [Difference] = []
    /// Why the file was not compared, or that its size differs.
    var reason: String?

    /// A file that was not compared.
    init(_ session: LuodStatus.Session, _ file: LuodStatus.File, notCompared reason: String) {
        (self.session, direction, token) = (session.name, session.direction, file.token)
        state = .notCompared
        self.reason = reason
    }

    /// Compares the sums of luod with those of the file now.
    init(
        _ session: LuodStatus.Session, _ file: LuodStatus.File, _ stored: FileSums, now: FileSums, _ pageSize: UInt64
    ) {
        (self.session, direction, token) = (session.name, session.direction, file.token)
        (size, blockSize, self.pageSize) = (now.size, now.blockSize, pageSize)
        switch stored.difference(from: now) {
        case nil: state = .same
        case .size(let size):
            state = .different
            reason = "the file has \(size) bytes, and had \(stored.size)"
        case .blocks(let blocks):
            state = .different
            differences = Self.runs(blocks, stored, pageSize)
        }
    }

    /// Joins blocks that follow each other.
    private static func runs(_ blocks: [Int], _ sums: FileSums, _ pageSize: UInt64) -> [Difference] {
        var runs: [ClosedRange<Int>] = []
        for block in blocks {
            if let last = runs.last, last.upperBound + 1 == block {
                runs[runs.count - 1] = last.lowerBound...block
            } else {
                runs.append(block...block)
            }
        }
        return runs.map { run in
            let offset = UInt64(run.lowerBound) * sums.blockSize
            let end = min(UInt64(run.upperBound + 1) * sums.blockSize, sums.size)
            return Difference(
                offset: offset, length: end - offset, firstPage: offset / pageSize, lastPage: (end - 1) / pageSize)
        }
    }

    /// The result in words, one line for each run that differs.
    var words: [String] {
        let subject = "session \"\(session.shown)\", token \(token.shown)"
        switch state {
        case .same:
            let blocks = FileSums.blockCount(size: size ?? 0, blockSize: blockSize ?? 1)
            return ["\(subject): same, \(counted(blocks, "block")) of \(ByteCount.text(blockSize ?? 0))"]
        case .notCompared: return ["\(subject): not compared: \((reason ?? "").shown)"]
        case .different:
            let first = reason.map { ["\(subject): \($0)"] } ?? []
            return first + differences.map { "\(subject): \($0.words(ofPage: pageSize ?? 4096))" }
        }
    }

    /// The words with their colour.
    var lines: [String] {
        switch state {
        case .same: words
        case .notCompared: words.map(Style.notice)
        case .different: words.map(Style.bad)
        }
    }
}

extension VerifiedFile.Difference {
    fileprivate func words(ofPage pageSize: UInt64) -> String {
        let pages = firstPage == lastPage ? "page \(firstPage)" : "pages \(firstPage) to \(lastPage)"
        return "\(counted(length, "byte")) from offset \(offset) on differ (\(pages) of \(ByteCount.text(pageSize)))"
    }
}

/// `luoctl verify --json`
struct VerifyReport: Encodable {
    let version = 1
    let isSame: Bool
    let files: [VerifiedFile]

    init(_ files: [VerifiedFile]) {
        self.files = files
        isSame = files.allSatisfy { $0.state == .same }
    }
}
