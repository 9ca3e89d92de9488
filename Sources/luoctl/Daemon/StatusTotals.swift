// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCommandLine
import LiveUpdatePlatform
import LiveUpdateProtocol

/// The sums over sessions. A file that several sessions have counts once. It does no I/O.
struct StatusTotals: Equatable, Encodable {
    private(set) var sessions = 0
    private(set) var files = 0
    private(set) var lost = 0
    /// The bytes that the files take in memory.
    private(set) var allocated: UInt64 = 0
    /// The bytes that the files have with their holes.
    private(set) var apparent: UInt64 = 0
    /// The allocated bytes by size of the huge pages.
    private(set) var huge: [HugePages] = []

    struct HugePages: Equatable, Encodable {
        let pageSize: UInt64
        var pages: UInt64
    }

    init(_ sessions: some Sequence<LuodStatus.Session>) {
        var seen: Set<FileIdentity> = []
        for session in sessions {
            self.sessions += 1
            for file in session.files {
                if file.isLost { lost += 1 }
                guard let identity = file.identity else { continue }
                if seen.insert(identity).inserted { add(file) }
            }
        }
        files = seen.count
        huge.sort { $0.pageSize < $1.pageSize }
    }

    private mutating func add(_ file: LuodStatus.File) {
        allocated = allocated.saturatingSum(file.allocated ?? 0)
        apparent = apparent.saturatingSum(file.size ?? 0)
        guard let pageSize = file.pageSize, pageSize > 4096, let bytes = file.allocated else { return }
        let pages = bytes / pageSize
        if let index = huge.firstIndex(where: { $0.pageSize == pageSize }) {
            huge[index].pages = huge[index].pages.saturatingSum(pages)
        } else {
            huge.append(HugePages(pageSize: pageSize, pages: pages))
        }
    }

    /// The sums in one line.
    var text: String {
        let pages = huge.map { "\(counted($0.pages, "page")) of \(ByteCount.text($0.pageSize))" }
        let memory = "\(ByteCount.text(allocated)) allocated of \(ByteCount.text(apparent))"
        let gone = lost == 0 ? [] : [Style.bad("\(counted(lost, "file")) lost")]
        return ([counted(sessions, "session"), counted(files, "file"), memory] + pages + gone).joined(separator: ", ")
    }
}

extension UInt64 {
    /// The sum; the largest number if it does not fit.
    fileprivate func saturatingSum(_ other: UInt64) -> UInt64 {
        let (sum, overflow) = addingReportingOverflow(other)
        return overflow ? .max : sum
    }
}
