// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdatePlatform
package import SystemPackage

/// Finds the other programs of this project from the path of the running program. After a build all programs are in one
/// directory. After an installation luoctl is in bin, luod is in sbin, and luo-bench and its programs are in
/// libexec/liveupdate, all of them below one prefix.
package enum NeighbourProgram {
    /// The directory of the running program.
    package static var directory: FilePath { ProgramImage.ownPath().removingLastComponent() }

    /// Finds a program.
    ///
    /// - Parameters:
    ///   - name: the file name of the program.
    ///   - installed: the directory of the program after an installation, relative to the directory of the program that
    ///     runs.
    /// - Returns: the path of the program.
    /// - Throws: exit code 69, with advice, if the program is missing.
    package static func path(_ name: String, installed: String) throws -> String {
        let places = [directory.appending(name), directory.pushing(FilePath(installed)).appending(name)].map {
            $0.lexicallyNormalized().string
        }
        if let found = places.first(where: isNeighbour) { return found }
        throw Exit.unavailable("\(name) is missing: neither \(places[0]) nor \(places[1]) can be executed; \(remedy)")
    }

    /// Whether a program can be executed and is in a directory of root, of this user, or of the owner of this program's
    /// directory. In a place such as /tmp, another user could make the directory `sbin` beside `bin`.
    package static func isNeighbour(_ path: String) -> Bool {
        let place = FilePath(path).removingLastComponent().string
        guard isExecutable(path), let owner = (try? FileStatus(at: place))?.owner else { return false }
        return owner == 0 || owner == geteuid() || owner == (try? FileStatus(at: directory.string))?.owner
    }

    package static func isExecutable(_ path: String) -> Bool { unsafe access(path, X_OK) == 0 }

    /// The advice for a missing program.
    package static let remedy =
        "run make install, which installs all programs, or make build, which builds them in .build/release"
}
