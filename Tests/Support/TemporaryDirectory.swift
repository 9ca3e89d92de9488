import Foundation
import Platform

/// A directory, of tmpfs if nothing else is said, that is gone with the last reference to it.
public final class TemporaryDirectory: Sendable {
    /// Where it is.
    public let path: String

    /// Makes an empty one.
    public init(in parent: String = "/dev/shm") throws {
        path = try makeTemporaryDirectory("\(parent)/liveupdate")
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// A name in it.
    public func file(_ name: String) -> String { "\(path)/\(name)" }

    /// What is in it.
    public var names: [String] { get throws { try FileManager.default.contentsOfDirectory(atPath: path).sorted() } }
}
