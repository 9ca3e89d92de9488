import Handover
import LiveUpdate
import Platform
import SystemPackage

/// An arena that has a name, on tmpfs for example: unlike one that only descriptors hold, it is there when every process
/// has died. What it describes may not be: memory files without a name go with their last holder, files on hugetlbfs
/// that have one stay.
enum ArenaFile {
    /// Opens the arena of that name, or makes it. A new one gets its name when it is whole, so that no crash leaves a
    /// half of one.
    ///
    /// - Throws: ENOENT when it is not there and must be `existing`, EAGAIN when another process runs it, EACCES when others may write to it, EIO when it is no arena, and
    ///   what open(2) and linkat(2) answer.
    static func open(
        _ path: FilePath, _ options: Arena.Options, existing isNeeded: Bool = false
    ) throws(LiveUpdateError) -> Arena {
        if let arena = try existing(path, options) { return arena }
        if isNeeded { throw LiveUpdateError(.noSuchFileOrDirectory, "there is no arena \(path)") }
        if let arena = try make(path, options) { return arena }
        // Somebody else was faster.
        if let arena = try existing(path, options) { return arena }
        throw LiveUpdateError(
            .noSuchFileOrDirectory, "the arena \(path) was removed while it was opened",
            remedy: "try again, and leave the file alone")
    }

    /// - Returns: nil when nothing has that name.
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
        // Before it is opened, which can do something to a device or a pipe.
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
            // Who ran it may have removed it before it was locked: then it is none that would be found again.
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

    /// - Returns: nil when something has that name by now.
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
