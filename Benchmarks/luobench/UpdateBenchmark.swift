import Glibc
import LiveUpdate
import LiveUpdateEmbedded
import LiveUpdateHandlers
import Platform
import SystemPackage

/// Replacing a process that has 253 files: freeze, publish, execve, boot, retrieve, and one word of each checked;
/// against execve of a C program that inherits the same descriptors and checks one word of each.
struct UpdateBenchmark {
    let floors: String
    let rounds: Int

    func run() throws {
        for count in [1, 253] {
            var ours = Samples()
            var floor = Samples()
            for _ in 0..<rounds {
                ours.add(try round(["update", "ours", "\(count)"]))
                floor.add(try round(["update", "floor", "\(count)", "\(floors)/exec"]))
            }
            report("update: \(count) files", ours: ours, floor: floor, limit: "at most 3")
        }
    }

    /// Each round is a process of its own, which replaces itself and then prints how long that took.
    private func round(_ arguments: [String]) throws -> UInt64 {
        let image = ProgramImage(path: "/proc/self/exe", arguments: ["luobench"] + arguments)
        let child = try ChildProcess.start(image)
        defer { child.finish() }
        guard let line = child.readLine(), let time = UInt64(line) else {
            throw LiveUpdateError(.ioError, "the process that was to be replaced ended")
        }
        return time
    }
}

/// The process that is replaced.
enum UpdateStage {
    static func run(_ arguments: [String]) throws -> Never {
        let count = arguments.count > 1 ? Int(arguments[1]) ?? 0 : 0
        switch arguments.first {
        case "ours": try first(count, image: arguments.count > 2 ? arguments[2] : "/proc/self/exe")
        case "next": try next(count, since: UInt64(arguments[2]) ?? 0)
        case "floor": try floor(count, path: arguments[2])
        default: exit(64)
        }
    }

    /// - Parameter image: this program, or for a profile what runs it: `luobench update ours 253 SCRIPT`.
    private static func first(_ count: Int, image: String) throws -> Never {
        let process = try UpdatableProcess { (orchestrator) throws(LiveUpdateError) in
            try orchestrator.registerStandardHandlers()
        }
        let session = try process.orchestrator.createSession("bench")
        for token in 0..<count {
            let file = try makeTouchedFile(size: 4096, pageSize: .base)
            try session.preserve(file, token: UInt64(token))
            try closeDescriptor(file)
        }
        let arguments = ["luobench", "update", "next", "\(count)", "\(monotonicNanoseconds())"]
        try process.reboot(into: ProgramImage(path: image, arguments: arguments))
    }

    private static func next(_ count: Int, since start: UInt64) throws -> Never {
        let process = try UpdatableProcess { (orchestrator) throws(LiveUpdateError) in
            try orchestrator.registerStandardHandlers()
        }
        let session = try process.orchestrator.retrieveSession("bench")
        for token in 0..<count {
            let file = OwnedDescriptor(taking: try session.retrieve(token: UInt64(token)))
            let mapping = try Mapping(of: file.borrowed, length: 4096, .shared(writable: false))
            // SAFETY: the mapping has a page.
            guard unsafe mapping.bytes.load(as: UInt64.self) == 1 else {
                throw LiveUpdateError(.ioError, "file \(token) is not what it was")
            }
        }
        print(monotonicNanoseconds() - start)
        try session.finish()
        exit(0)
    }

    private static func floor(_ count: Int, path: String) throws -> Never {
        let first: CInt = 64
        for index in 0..<CInt(count) {
            let file = OwnedDescriptor(taking: try makeTouchedFile(size: 4096, pageSize: .base))
            dup2(file.borrowed.rawValue, first + index)
        }
        let arguments = ["exec", "go", "\(first)", "\(count)", "\(monotonicNanoseconds())"]
        try ProgramImage(path: path, arguments: arguments).execute()
    }
}
