// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// Places where an arena cannot be. Each is refused with the reason, and stays unchanged.
@Suite struct ArenaPlaceTests {
    /// An object in the place of an arena.
    enum Place: String, CaseIterable, Sendable {
        case otherContent, nothingInIt, damaged
        case groupWritable, writableByAll, anotherUsers
        case directory, symbolicLink, pipe, device
        case missingDirectory, belowAFile

        /// Makes the object, and returns the path to use.
        func make(_ path: String, in directory: TemporaryDirectory) async throws -> String {
            switch self {
            case .otherContent: try Data(repeating: 7, count: 8192).write(to: URL(fileURLWithPath: path))
            case .nothingInIt: try Data().write(to: URL(fileURLWithPath: path))
            case .damaged:
                try await Self.arena(path)
                try Self.flip(path, at: 8)
            case .groupWritable, .writableByAll:
                try await Self.arena(path)
                _ = unsafe chmod(path, self == .groupWritable ? 0o660 : 0o602)
            case .anotherUsers:
                try await Self.arena(path)
                _ = unsafe chown(path, 65534, 65534)
            case .directory: _ = unsafe mkdir(path, 0o700)
            case .symbolicLink:
                try await Self.arena(directory.file("real"))
                _ = unsafe symlink(directory.file("real"), path)
            case .pipe: _ = unsafe mkfifo(path, 0o600)
            case .device: _ = unsafe mknod(path, S_IFCHR | 0o600, 0x103)
            case .missingDirectory: return "\(path)/arena"
            case .belowAFile:
                try Data().write(to: URL(fileURLWithPath: path))
                return "\(path)/arena"
            }
            return path
        }

        private static func arena(_ path: String) async throws {
            #expect(try await probe("named", "begin", path).status == 0)
        }

        private static func flip(_ path: String, at offset: Int) throws {
            var bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
            bytes[offset] ^= 0xFF
            let file = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
            try file.write(contentsOf: bytes)
            try file.close()
        }

        var errno: Errno {
            switch self {
            case .otherContent, .nothingInIt, .damaged: .ioError
            case .missingDirectory: .noSuchFileOrDirectory
            case .belowAFile: .notDirectory
            default: .permissionDenied
            }
        }

        /// Parts of the expected reason and remedy.
        var parts: [String] {
            switch self {
            case .otherContent: ["this is no arena", "remove that file"]
            case .nothingInIt: ["the file has 0 bytes", "remove it"]
            case .damaged: ["version", "start the image that wrote it"]
            case .missingDirectory: ["making the arena", "name a place in a directory that is there"]
            case .belowAFile: ["looking for the arena"]
            default: ["is not a file that only this user may write to", "remove it, or name another place"]
            }
        }

        var needsRoot: Bool { self == .anotherUsers || self == .device }
    }

    @Test(arguments: Place.allCases) func refused(_ place: Place) async throws {
        if place.needsRoot && geteuid() != 0 { return }
        let directory = try TemporaryDirectory()
        let path = try await place.make(directory.file("arena"), in: directory)
        let names = try directory.names
        let content = place == .otherContent ? FileManager.default.contents(atPath: path) : nil
        let ended = try await probe("named", "begin", path)
        #expect(ended.status == 1, "\(ended)")
        let answer = try #require(try ended.objects().first)
        #expect(answer["errno"] == "\(place.errno.rawValue)", "\(answer)")
        for part in place.parts + [path] { #expect(answer["error"]?.contains(part) == true, "\(answer)") }
        #expect(try directory.names == names, "nothing was made")
        if let content { #expect(FileManager.default.contents(atPath: path) == content, "it was not touched") }
    }
}
