// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import LiveUpdateCommandLine
import LiveUpdatePlatform
import SystemPackage

/// Explains in words why a pool was not changed, and gives advice.
struct RefusalMessage {
    private let request: HugePageRequest
    private let refusal: HugePageRefusal

    init(_ request: HugePageRequest, _ refusal: HugePageRefusal) {
        self.request = request
        self.refusal = refusal
    }

    /// Prints the message.
    var exitCode: ExitCode {
        switch refusal {
        case .noRight(let error): Exit.permission(noRight(error))
        case .interrupted(let signal): Exit.interrupted("interrupted: the reserved pages were given back", signal)
        default: Exit.unavailable(text)
        }
    }

    private var text: String {
        switch refusal {
        case .noPool(let sizes): noPool(sizes)
        case .noNode(let nodes): "there is no node \(node) with pages of \(size); there is \(list(nodes))"
        case .noMemory(let possible):
            "there is memory for \(possible) new pages of \(size)\(onNode), with "
                + "\(ByteCount.text(HugePageReservation.spare)) left to others, and \(request.count) are asked for; "
                + (possible > 0 ? "try --count \(possible), or --best-effort" : "end what uses memory")
        case .notPersistent(let count):
            "the pool has \(count) persistent pages of \(size)\(onNode), and \(request.count) are to be released; "
                + "luoctl hugepages shows them"
        case .inUse(let count):
            "\(count) of the \(request.count) pages are in use or promised; they would become surplus pages, and vanish "
                + "when they are freed: luoctl hugepages shows their holders, --force does it all the same"
        case .fewer(let count): fewer(count)
        case .failed(let error): failed(error)
        case .noRight, .interrupted: ""
        }
    }

    private var size: String { request.size.description }
    private var node: String { request.node.map { "\($0)" } ?? "" }
    private var onNode: String { request.node.map { " on node \($0)" } ?? "" }
    private var atBoot: String { "hugepagesz=\(size) hugepages=\(request.count) on the kernel's command line" }

    private func list(_ values: [some CustomStringConvertible]) -> String {
        values.isEmpty ? "none" : values.map(\.description).joined(separator: ", ")
    }

    private func noPool(_ sizes: [PageSize]) -> String {
        sizes.isEmpty
            ? "this kernel has no huge pages: it needs CONFIG_HUGETLBFS"
            : "this kernel has no pool of \(size) pages, but of \(list(sizes)); where the processor has pages of that "
                + "size (1G: pdpe1gb in /proc/cpuinfo), put \(atBoot)"
    }

    private func fewer(_ count: UInt64) -> String {
        let kept = count == 0 ? "" : ", and they were given back"
        let remedy = count == 0 ? "" : "; --best-effort keeps what can be had"
        return "only \(count) of \(request.count) pages of \(size)\(onNode) could be had\(kept): memory is in "
            + "pieces\(remedy); echo 1 >/proc/sys/vm/compact_memory may help, \(atBoot) always does"
    }

    private func failed(_ error: SystemCallError) -> String {
        if error.errno == .invalidArgument, request.action == .reserve {
            return "the kernel makes no pages of \(size) while it runs: put \(atBoot)"
        }
        return "the pool of \(size) pages could not be changed: \(error)"
    }

    private func noRight(_ error: SystemCallError) -> String {
        error.errno == .readOnlyFileSystem
            ? "/sys is mounted read-only, as in containers: change the pools outside of it (\(error))"
            : "only root may change the pools: sudo luoctl hugepages \(request.action) … (\(error))"
    }
}
