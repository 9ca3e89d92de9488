// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage

/// The carrier of memory files from the previous kernel, in the next boot: the session of the kernel's orchestrator
/// that ``KernelDeparture`` has filled.
///
/// 1. The keeper retrieves the session, and the list of the descriptors (``KernelCargo``) from it.
/// 2. The arena is written to its path in the state, unless the state is on a file system that still has the arena.
/// 3. Each file is opened once for each of its slots, in the recorded mode and at the recorded offset. A file that has
///    lost seals gets them again.
/// 4. The kernel's session is finished.
enum KernelArrival {
    /// Retrieves everything that the previous kernel has handed over for a state.
    ///
    /// - Parameters:
    ///   - state: the path of the state.
    ///   - arena: the path of the arena.
    ///   - vault: gets the descriptors.
    /// - Returns: whether there was a session.
    /// - Throws: StartFailure when the session cannot be retrieved; the errors of ``KernelSession`` for a file;
    ///   `record` for a list of another version; ENOSPC and other errors of writing the arena. If the session was
    ///   retrieved, its files are then lost, so luod must not start as if there were none.
    static func receive(state: String, arena: String, into vault: DescriptorVault) throws -> Bool {
        let name = KernelCargo.sessionName(ofState: canonicalPath(state))
        guard KernelSession.isPossible, let session = try retrieve(name) else { return false }
        let cargo = try KernelCargo(content(of: KernelCargo.token, in: session))
        if (try? FileStatus(at: arena, followingLinks: false)) == nil {
            writePatiently(try content(of: KernelCargo.arenaToken, in: session), to: arena)
        }
        for (token, items) in Dictionary(grouping: cargo.items, by: \.token) {
            do throws(SystemCallError) {
                try receive(token, items, from: session, into: vault)
            } catch {
                // The other files must arrive.
                let slots = items.map { "\($0.slot.number)" }.joined(separator: ", ")
                Log("luod keeper").say(
                    "the memory file of user \(items.first?.user ?? 0) in slots \(slots) did not come whole from the previous "
                        + "kernel: \(error)")
            }
        }
        try session.finish()
        return true
    }

    private static func receive(
        _ token: UInt64, _ items: [KernelCargo.Item], from session: KernelSession, into vault: DescriptorVault
    ) throws(SystemCallError) {
        let file = try session.retrieve(token: token)
        // No process may have the file while it has too many rights.
        if let item = items.first { setRights(of: file.borrowed, item) }
        for item in items {
            let opened = try file.borrowed.reopened(item.mode)
            try opened.borrowed.setPosition(Int64(item.position))
            let label = DescriptorLabel(user: item.user, traits: .cameWithKernel)
            vault.keep(HeldSlot(slot: item.slot, kind: .file, label: label), opened.release())
        }
        try seal(file.borrowed, as: items)
    }

    /// Retrieves the session, and waits while another program has the device open. luod must not begin without the
    /// session.
    ///
    /// - Returns: nil when the previous kernel has handed over no such session.
    /// - Throws: StartFailure when the device stays open in another program, and for the other errors of the kernel.
    private static func retrieve(_ name: SessionName) throws -> KernelSession? {
        for _ in 0..<attempts {
            do throws(SystemCallError) {
                return try KernelSession.retrieve(name)
            } catch {
                // EINVAL: a luod that is ending has the session open.
                guard [.resourceBusy, .invalidArgument].contains(error.errno) else {
                    throw StartFailure(
                        .unavailable,
                        "the session \(name) of /dev/liveupdate cannot be retrieved: \(error); its files end with it")
                }
            }
            usleep(100_000)
        }
        throw StartFailure(
            .other,
            "the session \(name) of /dev/liveupdate cannot be retrieved, because another program has the device open: "
                + "end that program, and start luod again")
    }

    /// The attempts to open the device, ten in a second.
    private static let attempts = 50

    private static func content(of token: UInt64, in session: KernelSession) throws(SystemCallError) -> [UInt8] {
        let file = try session.retrieve(token: token)
        return try file.borrowed.bytes(at: 0, count: Int(try FileStatus(of: file.borrowed).size))
    }

    /// Writes the arena. The kernel's session would end with this process, so a full or read-only file system only
    /// makes it wait until there is room.
    private static func writePatiently(_ bytes: [UInt8], to path: String) {
        var isLogged = false
        while true {
            do throws(SystemCallError) {
                return try write(bytes, to: path)
            } catch {
                if !isLogged {
                    Log("luod keeper").say(
                        "the state of the previous kernel cannot be written to \(path): \(error); luod waits: make room, or "
                            + "make it writable; if luod is ended now, all memory files are lost")
                }
                isLogged = true
                sleep(1)
            }
        }
    }

    private static func write(_ bytes: [UInt8], to path: String) throws(SystemCallError) {
        let unfinished = FilePath(path + ".kernel")
        try? removeFile(unfinished)
        let file = try makeFile(unfinished)
        try file.borrowed.writeWhole(bytes)
        try systemCall("fsync") { fsync(file.borrowed.rawValue) }
        try systemCall("rename") { unsafe rename(unfinished.string, path) }
    }

    /// Restores owner and permissions. A failure must not end luod, because that would lose all files.
    private static func setRights(of file: FileDescriptor, _ item: KernelCargo.Item) {
        do throws(SystemCallError) {
            try file.setRights(item.permissions, owner: item.owner, group: item.group)
        } catch {
            Log("luod keeper").say(
                "the memory file in slot \(item.slot.number) of user \(item.user) keeps the rights that the kernel gave it, "
                    + "which are all rights for everybody: \(error)")
        }
    }

    /// Adds the seals that the file has lost on its way.
    private static func seal(_ file: FileDescriptor, as items: [KernelCargo.Item]) throws(SystemCallError) {
        let recorded = items.reduce(Seals()) { $0.union($1.seals) }
        let missing = recorded.subtracting(try file.seals())
        if !missing.isEmpty { try file.addSeals(missing) }
    }
}
