import Foundation
import Glibc

/// Runs a copy of luoctl that anybody may execute, as a user without rights.
func luoctlAsNobody(_ arguments: [String], in room: DemoRoom? = nil) async throws -> Ended {
    let directory = FileManager.default.temporaryDirectory.appendingPathComponent("luoctl-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: false)
    defer { try? FileManager.default.removeItem(at: directory) }
    unsafe chmod(directory.path, 0o755)
    let copy = directory.appendingPathComponent("luoctl").path
    // Not copied by this process: a program that it starts meanwhile would have the copy open for writing.
    _ = try await run(["/usr/bin/install", "-m", "755", Program.path("luoctl"), copy])
    return try await run(
        (room?.entrance ?? []) + ["/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", copy]
            + arguments)
}
