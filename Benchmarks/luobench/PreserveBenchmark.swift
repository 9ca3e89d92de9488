import Handover
import LiveUpdate
import LiveUpdateEmbedded
import LiveUpdateHandlers
import Platform
import SystemPackage

/// Preserving 1 GiB of huge pages in four files, with exact hole map and page frames.
struct PreserveBenchmark {
    let floors: String
    let rounds: Int

    func run() throws {
        try withHugePages(512) {
            let files = try (0..<4).map { _ in try makeTouchedFile(size: 256 << 20, pageSize: .huge2M) }
            defer { for file in files { try? closeDescriptor(file) } }
            let arguments = ["preserve"] + files.map { "\($0.rawValue)" }
            let floor = try ChildProcess.start(
                ProgramImage(path: "\(floors)/preserve", arguments: arguments), inherited: files)
            defer { floor.finish() }
            let orchestrator = Orchestrator(arena: try Arena.make(), descriptors: InheritedDescriptors())
            try orchestrator.registerStandardHandlers()

            var ours = Samples()
            var theirs = Samples()
            for _ in 0..<rounds {
                let session = try orchestrator.createSession("bench")
                ours.add(
                    try elapsed {
                        for (token, file) in files.enumerated() {
                            try session.preserve(file, token: UInt64(token))
                        }
                    })
                try session.close()
                theirs.add(try floor.round())
            }
            report("preserve: 1 GiB of 2 MiB pages in 4 files", ours: ours, floor: theirs, limit: "at most 3")
        }
    }
}
