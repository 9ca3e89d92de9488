// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import TestSupport

/// Runs a copy of luoctl as a user without rights.
func luoctlAsNobody(_ arguments: [String], in room: DemoRoom? = nil) async throws -> Ended {
    try await runAsNobody(["luoctl"], in: room) { _ in arguments }
}

/// Runs the first of some programs as a user without rights. The programs are copied into a directory that each user
/// may read. `arguments` makes the arguments from that directory.
func runAsNobody(
    _ programs: [String], in room: DemoRoom? = nil, environment: [String] = [], _ arguments: (String) -> [String]
) async throws -> Ended {
    // A room has its own /dev/shm.
    let directory = try TemporaryDirectory(in: "/tmp")
    unsafe chmod(directory.path, 0o755)
    try await install(programs.map(Program.path), into: directory.path)
    let user = ["/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    return try await run(
        (room?.entrance ?? []) + user + ["\(directory.path)/\(programs[0])"] + arguments(directory.path),
        environment: environment)
}
