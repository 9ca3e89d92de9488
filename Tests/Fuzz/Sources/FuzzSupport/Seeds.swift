// SPDX-License-Identifier: Apache-2.0
import Glibc
import SystemPackage

@testable import LiveUpdatePlatform

/// An input and its name.
package typealias Seed = (name: String, bytes: [UInt8])

/// Writes the first inputs of a fuzzer into the folder that `FUZZ_SEEDS` names, and ends the program. Without this
/// variable it does nothing. `LLVMFuzzerInitialize` calls it.
package func writeSeedsIfAsked(_ make: () throws -> [Seed]) {
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

/// Copies the bytes that libFuzzer gives.
@unsafe
package func input(_ start: UnsafePointer<UInt8>?, _ count: Int) -> [UInt8] {
    // SAFETY: libFuzzer gives the number of bytes that it states.
    unsafe [UInt8](UnsafeBufferPointer(start: start, count: count))
}

/// Reports a fault: ends the program, so that libFuzzer saves the input.
package func fault(_ what: String) -> Never { fatalError("FOUND: \(what)") }

/// Reports a fault unless the condition is true.
package func check(_ condition: Bool, _ what: @autoclosure () -> String) {
    if !condition { fault(what()) }
}
