// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdatePlatform
import SystemPackage

/// Decides whether a program's path leads to `/dev/liveupdate`, a file that does not exist. It looks from outside,
/// through the program's root and directories in /proc.
struct DevicePath {
    /// The thread that gave the path.
    let caller: CInt
    /// The directory in which relative paths begin: a descriptor of the thread, or its working directory.
    let directory: CInt

    private static let device = [UInt8](KernelOrchestrator.devicePath.utf8)
    private static let name = "liveupdate"

    /// Whether a path names the device, also with slashes at its end. `followsLinks` says whether the last name of the
    /// path may be a link.
    func leadsToDevice(_ path: [UInt8], followsLinks: Bool) -> Bool {
        if path == Self.device { return true }
        guard let end = path.lastIndex(where: { $0 != UInt8(ascii: "/") }) else { return false }
        var place = seen(String(decoding: path[...end], as: UTF8.self))
        // Like the kernel, this follows at most 40 links.
        for _ in 0...40 {
            let (parent, name) = Self.split(place)
            if name == Self.name { return isDeviceDirectory(parent) }
            guard followsLinks, let target = try? linkTarget(place), !target.isEmpty else { return false }
            place = target.hasPrefix("/") ? seen(target) : parent + target
        }
        return false
    }

    /// Converts a path of the caller to a path for this process.
    private func seen(_ path: String) -> String {
        let here = "/proc/\(caller)"
        guard path.hasPrefix("/") else {
            return directory == workingDirectoryNumber ? "\(here)/cwd/\(path)" : "\(here)/fd/\(directory)/\(path)"
        }
        for own in ["/proc/self/", "/proc/thread-self/"] where path.hasPrefix(own) {
            return "\(here)/root\(here)/\(path.dropFirst(own.count))"
        }
        return "\(here)/root\(path)"
    }

    private static func split(_ path: String) -> (parent: String, name: Substring) {
        guard let slash = path.lastIndex(of: "/") else { return ("", path[...]) }
        return (String(path[...slash]), path[path.index(after: slash)...])
    }

    private func isDeviceDirectory(_ path: String) -> Bool {
        guard let found = try? FileStatus(at: path).identity else { return false }
        return found == (try? FileStatus(at: "/proc/\(caller)/root/dev/").identity)
    }
}
