import Foundation
import Glibc
import Platform
import SystemPackage

/// A directory of tmpfs that is gone with the last reference to it.
public final class TemporaryDirectory: Sendable {
    /// Where it is.
    public let path: String

    /// Makes an empty one.
    public init(in parent: String = "/dev/shm") throws {
        var template = Array("\(parent)/liveupdate-XXXXXX".utf8CString)
        guard unsafe mkdtemp(&template) != nil else { throw SystemCallError("mkdtemp", Errno(rawValue: Glibc.errno)) }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// A name in it.
    public func file(_ name: String) -> String { "\(path)/\(name)" }

    /// What is in it.
    public var names: [String] { get throws { try FileManager.default.contentsOfDirectory(atPath: path).sorted() } }
}
