// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdate
import LiveUpdateCore
import LiveUpdateHandlers
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage

/// Prints a line of JSON on standard output without a buffer, because execve loses buffered text.
func say(_ values: [String: String]) {
    let fields = values.sorted { $0.key < $1.key }.map { "\"\($0.key)\":\"\(escaped($0.value))\"" }
    let line = "{" + fields.joined(separator: ",") + "}\n"
    _ = unsafe write(STDOUT_FILENO, line, line.utf8.count)
}

private func escaped(_ text: String) -> String {
    text.map { $0 == "\"" || $0 == "\\" ? "\\\($0)" : "\($0)" }.joined()
}

/// An FLB of ordinary memory files. It reports when it is finished.
final class SayingFLB: FileLifecycleBound {
    let compatible = "probe-flb-v1"

    func preserve(_ context: FLBContext) throws(LiveUpdateError) -> (data: UInt64, object: UInt64) { (7, 7) }
    func unpreserve(_ object: UInt64, _ context: FLBContext) { say(["flb": "unpreserve"]) }
    func retrieve(_ context: FLBContext) throws(LiveUpdateError) -> UInt64 { context.data }
    func finish(_ object: UInt64, _ context: FLBContext) { say(["flb": "finish \(object)"]) }
    func resume(_ context: FLBContext) throws(LiveUpdateError) -> UInt64 { context.data }
}

/// Begins a boot with the handlers of memory files.
func begin(
    handlers: Bool = true, arena: Arena.Options = Arena.Options(), at path: FilePath? = nil
) throws(LiveUpdateError) -> UpdatableProcess {
    try UpdatableProcess(arena: arena, at: path) { (orchestrator) throws(LiveUpdateError) in
        guard handlers else { return }
        let memfd = MemfdHandler()
        try orchestrator.register(memfd)
        try orchestrator.register(HugeMemfdHandler())
        try orchestrator.register(HugetlbfsFileHandler())
        try orchestrator.register(SayingFLB(), on: memfd)
        try orchestrator.register(UnfreezableHandler())
    }
}

/// Makes an image of this program.
func ownImage(_ arguments: [String] = CommandLine.arguments) -> ProgramImage {
    ProgramImage(path: "/proc/self/exe", arguments: arguments)
}

/// Makes a memory file that contains a word for its number.
func makeFile(_ number: UInt64) throws -> FileDescriptor {
    let file = try makeMemoryFile(named: "probe-\(number)", size: 4096)
    let mapping = try Mapping(of: file.borrowed, length: 4096, .shared(writable: true))
    unsafe mapping.bytes.storeBytes(of: word(number), as: UInt64.self)
    return file.release()
}

func word(_ number: UInt64) -> UInt64 { (number + 1) &* 0x9E37_79B9_7F4A_7C15 }

/// Whether the file still contains the word for its number.
func holds(_ file: borrowing OwnedDescriptor, _ number: UInt64) throws -> Bool { try holds(file.borrowed, number) }

func holds(_ file: FileDescriptor, _ number: UInt64) throws -> Bool {
    let mapping = try Mapping(of: file, length: 4096, .shared(writable: false))
    return unsafe mapping.bytes.load(as: UInt64.self) == word(number)
}

/// The open descriptors, counted by kind.
struct Descriptors {
    private(set) var standard = 0
    private(set) var arena = 0
    private(set) var files = 0
    private(set) var others: [String] = []
    /// The descriptors, except the standard ones, that an executed program inherits.
    private(set) var inheritable = 0

    init() throws {
        for number in try openDescriptors() {
            let name = Self.target(of: number)
            if number < 3 {
                standard += 1
                continue
            }
            if fcntl(number, F_GETFD) & FD_CLOEXEC == 0 { inheritable += 1 }
            if name.hasPrefix("/memfd:luo-arena") {
                arena += 1
            } else if name.hasPrefix("/memfd:probe-") {
                files += 1
            } else {
                others.append("\(number) \(name)")
            }
        }
    }

    private static func target(of number: CInt) -> String {
        var name = [CChar](repeating: 0, count: 256)
        let count = unsafe readlink("/proc/self/fd/\(number)", &name, name.count)
        return String(decoding: name.prefix(max(count, 0)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    func described(_ prefix: String) -> [String: String] {
        [
            "\(prefix)_standard": "\(standard)", "\(prefix)_arena": "\(arena)", "\(prefix)_files": "\(files)",
            "\(prefix)_others": others.joined(separator: ","), "\(prefix)_inheritable": "\(inheritable)",
        ]
    }
}
