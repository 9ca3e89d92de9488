import Platform
import SystemPackage

/// CRC32C of a file's memory against just reading it.
struct VerifyBenchmark {
    let floors: String
    let rounds: Int

    func run() throws {
        print("verify: CRC32C of 1 GiB of 2 MiB pages against reading it")
        let size: UInt64 = 1 << 30
        try withHugePages(512) {
            let file = OwnedDescriptor(taking: try makeTouchedFile(size: size, pageSize: .huge2M))
            let floor = try ChildProcess.start(
                ProgramImage(path: "\(floors)/read", arguments: ["read", "\(file.borrowed.rawValue)"]),
                inherited: [file.borrowed])
            defer { floor.finish() }
            let mapping = try Mapping(of: file.borrowed, length: size, .shared(writable: false))
            var ours = Samples()
            var theirs = Samples()
            for _ in 0..<rounds {
                ours.add(elapsed { _ = unsafe CRC32C.of(UnsafeRawBufferPointer(mapping.bytes)) })
                theirs.add(try floor.round())
            }
            let speed = Samples.hundredths(theirs.median, ours.median)
            print("  ours \(ours.text)\n  floor \(theirs.text)\n  speed \(speed) of reading, to be at least 0.80\n")
        }
    }
}
