import Glibc
import Platform
import SystemPackage

/// An input, and what to call it.
public typealias Seed = (name: String, bytes: [UInt8])

/// Writes the inputs that a target starts from into the folder that `FUZZ_SEEDS` names, and ends the program; does
/// nothing when it was not asked to. For `LLVMFuzzerInitialize`.
public func writeSeedsIfAsked(_ make: () throws -> [Seed]) {
    guard let folder = unsafe getenv("FUZZ_SEEDS") else { return }
    do {
        for seed in try make() { try write(seed, to: unsafe String(cString: folder)) }
    } catch {
        print("no seeds: \(error)")
        exit(1)
    }
    exit(0)
}

private func write(_ seed: Seed, to folder: String) throws {
    let path = FilePath("\(folder)/\(seed.name)")
    let file = try FileDescriptor.open(
        path, .writeOnly, options: [.create, .truncate, .closeOnExec], permissions: .ownerReadWrite)
    try file.closeAfter { _ = try file.writeAll(seed.bytes) }
}

/// The bytes that libFuzzer gives, to be kept.
@unsafe
public func input(_ start: UnsafePointer<UInt8>?, _ count: Int) -> [UInt8] {
    // SAFETY: libFuzzer gives as many bytes as it says.
    unsafe [UInt8](UnsafeBufferPointer(start: start, count: count))
}

/// What must not be: ends the program, which keeps the input.
public func fault(_ what: String) -> Never { fatalError("FOUND: \(what)") }

/// What must be.
public func check(_ condition: Bool, _ what: @autoclosure () -> String) {
    if !condition { fault(what()) }
}
