// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform

extension Seals {
    /// The names of the seals as in fcntl(2), without their prefix.
    var names: [String] {
        let all: [(Seals, String)] = [
            (.seal, "seal"), (.shrink, "shrink"), (.grow, "grow"), (.write, "write"), (.futureWrite, "future"),
        ]
        return all.filter { contains($0.0) }.map(\.1)
    }

    var text: String { isEmpty ? "none" : names.joined(separator: "+") }
}
