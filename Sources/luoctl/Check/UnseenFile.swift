// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCommandLine
import LiveUpdatePlatform

/// A file of a process at which the check does not look, because its file system may not answer.
struct UnseenFile: Encodable {
    /// The number of its descriptor; nil for a mapped file.
    var fd: CInt?
    /// The first address at which it is mapped; nil for a descriptor.
    var address: String?
    let name: String

    /// The most files that the report names without `--all`.
    private static let most = 5

    private var text: String {
        let place = fd.map { "fd \($0)" } ?? address ?? "?"
        return "\(place) (\(name.shown)): its file system may not answer, so luoctl does not look at it"
    }

    /// The paragraph of the report; nil without such files.
    static func text(_ files: [UnseenFile], listsAll: Bool) -> String? {
        guard !files.isEmpty else { return nil }
        let shown = listsAll ? files[...] : files.prefix(most)
        let rest = files.count - shown.count
        return (shown.map(\.text) + (rest > 0 ? ["and \(rest) more such files: --all lists them"] : []))
            .joined(separator: "\n")
    }
}
