// SPDX-License-Identifier: Apache-2.0
import Foundation
import LiveUpdatePlatform

/// A directory, by default on a tmpfs, that is removed with the last reference to this object.
package final class TemporaryDirectory: Sendable {
    /// The path of the directory.
    package let path: String

    /// Makes an empty directory.
    package init(in parent: String = "/dev/shm") throws {
        path = try makeTemporaryDirectory("\(parent)/liveupdate")
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// The path of a name in the directory.
    package func file(_ name: String) -> String { "\(path)/\(name)" }

    /// The names in the directory.
    package var names: [String] { get throws { try FileManager.default.contentsOfDirectory(atPath: path).sorted() } }
}
