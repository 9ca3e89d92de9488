// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage

/// An arena in a file that has a name, on tmpfs for example. It stays when all processes have died, unlike an arena
/// that only descriptors hold. The files that it describes may be lost then: memory files without a name are lost with
/// their last holder, and files with a name on hugetlbfs stay.
enum ArenaFile {
    /// Opens the arena at a path, or makes it. A new arena gets its name when it is complete, so that no crash leaves a
    /// half-written one.
    ///
    /// - Throws: ENOENT when the arena does not exist and `existing` is true, EAGAIN when another process runs it,
    ///   EACCES when others may write to it, EIO when the file is no arena, and the errors of open(2) and linkat(2).
    static func open(
        _ path: FilePath, _ options: Arena.Options, existing isNeeded: Bool = false
    ) throws(LiveUpdateError) -> Arena {
        if let arena = try existing(path, options) { return arena }
        if isNeeded { throw LiveUpdateError(.noSuchFileOrDirectory, "there is no arena \(path)") }
        if let arena = try make(path, options) { return arena }
        // Another process has made the arena meanwhile.
        if let arena = try existing(path, options) { return arena }
        throw LiveUpdateError(
            .noSuchFileOrDirectory, "the arena \(path) was removed while it was opened",
            remedy: "try again, and leave the file alone")
    }

    /// - Returns: nil when no file has that name.
    private static func existing(_ path: FilePath, _ options: Arena.Options) throws(LiveUpdateError) -> Arena? {
        let found: FileDescriptor
        let status: FileStatus
        do throws(SystemCallError) {
            let file = try findFile(path)
            status = try FileStatus(of: file.borrowed)
            found = file.release()
        } catch {
            if error.errno == .noSuchFileOrDirectory { return nil }
            throw LiveUpdateError(error, "looking for the arena \(path)")
        }
        let file = OwnedDescriptor(taking: found)
        // This check comes before the open, because an open can have an effect on a device or a pipe.
        guard status.isRegular, status.isOursAlone else {
            throw LiveUpdateError(
                .permissionDenied, "the arena \(path) is not a file that only this user may write to",
                remedy: "remove it, or name another place that is not for everybody")
        }
        let opened: OwnedDescriptor
        do {
            opened = try file.borrowed.reopened(.readWrite)
        } catch {
            throw LiveUpdateError(error, "opening the arena \(path)")
        }
        do {
            let arena = try Arena(opening: opened, options)
            // The process that ran the arena may have removed the file before it was locked here. A process that looks
            // for the arena would not find this file.
            let links = try? FileStatus(of: arena.descriptor).links
            return links == 0 ? nil : arena
        } catch {
            throw LiveUpdateError(error.errno, "\(path): \(error)", remedy: remedy(for: error.gate))
        }
    }

    private static func remedy(for gate: ArenaError.Gate) -> String {
        switch gate {
        case .owner: "end that process first: fuser(1) says which has the file open"
        case .magic: "name another place, or remove that file"
        default: "start the image that wrote it; or remove it, and lose what it describes"
        }
    }

    /// - Returns: nil when another file has that name by now.
    private static func make(_ path: FilePath, _ options: Arena.Options) throws(LiveUpdateError) -> Arena? {
        let arena = try format(path, options)
        do {
            try arena.descriptor.giveName(path)
            return arena
        } catch {
            if error.errno == .fileExists { return nil }
            throw LiveUpdateError(error, "naming the arena \(path)")
        }
    }

    private static func format(_ path: FilePath, _ options: Arena.Options) throws(LiveUpdateError) -> Arena {
        let directory = path.removingLastComponent()
        let file: OwnedDescriptor
        do {
            file = try makeFileWithoutName(in: directory.isEmpty ? "." : directory)
        } catch {
            throw LiveUpdateError(
                error.errno, "making the arena \(path): \(error.call)",
                remedy: "name a place in a directory that is there, on tmpfs (/run, /dev/shm) for example")
        }
        do {
            return try Arena.format(file, options)
        } catch {
            throw LiveUpdateError(error)
        }
    }
}
