// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage

/// The carrier of memory files from the previous kernel, in the next boot: the session of the kernel's orchestrator
/// that ``KernelDeparture`` has filled.
///
/// 1. The keeper retrieves the session, and gives it to a holder (``KernelHolder``) at once. If luod is killed from
///    then on, the next luod takes the session from the holder and begins again.
/// 2. It retrieves the list of the descriptors (``KernelCargo``).
/// 3. The arena is written to its path in the state, unless the state is on a file system that still has the arena.
/// 4. Each file is opened once for each of its slots, in the recorded mode and at the recorded offset. A file that has
///    lost seals gets them again.
/// 5. When the files are served, the kernel's session is finished, and the holder is ended.
///
/// A holder that the luod before has left under the same kernel has the files themselves. They are taken from it.
struct KernelArrival {
    let state: StateDirectory
    let settings: Settings

    /// Takes everything that the previous kernel has handed over for the state, or that a holder has.
    ///
    /// - Parameters:
    ///   - holder: the holder that was found, if there is one. Afterwards it is the holder that must be ended when the
    ///     files are served.
    ///   - vault: gets the descriptors.
    /// - Returns: whether the files come from a previous kernel.
    /// - Throws: StartFailure when the session cannot be retrieved, or when a holder does not give its descriptors; the
    ///   errors of ``KernelSession`` for the list; `record` for a list of another version. luod must not start then as
    ///   if there were no files.
    func receive(_ holder: inout KernelHolder?, into vault: DescriptorVault) throws -> Bool {
        let session: KernelSession
        if let holder {
            guard let taken = try take(from: holder, into: vault) else { return false }
            session = taken
        } else {
            let name = KernelCargo.sessionName(ofState: canonicalPath(state.path))
            guard KernelSession.isPossible, let retrieved = try retrieve(name) else { return false }
            session = retrieved
            holder = hold(session)
        }
        try receive(from: session, into: vault)
        if let holder { holder.finishAtEnd(session) } else { try session.finish() }
        return true
    }

    private func take(from holder: KernelHolder, into vault: DescriptorVault) throws -> KernelSession? {
        do {
            return try holder.take(into: vault)
        } catch {
            throw StartFailure(
                .unavailable,
                "the memory files in process \(holder.id) cannot be taken back: \(error); start luod as root, or end "
                    + "that process if the files may be lost")
        }
    }

    /// Starts a holder, and gives it the session.
    ///
    /// - Returns: nil when no holder can be started. The session then ends with this process.
    private func hold(_ session: KernelSession) -> KernelHolder? {
        do {
            return try KernelHolder.start(
                state.holder, image: try KeptImage.own().executable, settings, holding: [],
                session: session.descriptor, isIncoming: true)
        } catch {
            log.say(
                "no process can hold the session of the previous kernel: \(error); do not end luod before it is ready, or "
                    + "all memory files are lost")
            return nil
        }
    }

    private var log: Log { Log("luod-keeper") }

    private func receive(from session: KernelSession, into vault: DescriptorVault) throws {
        let cargo = try KernelCargo(content(of: KernelCargo.token, in: session))
        if try lacksArena() { writePatiently(try content(of: KernelCargo.arenaToken, in: session), to: state.arena) }
        for (token, items) in Dictionary(grouping: cargo.items, by: \.token) {
            do throws(SystemCallError) {
                try receive(token, items, from: session, into: vault)
            } catch {
                // The other files must arrive.
                let slots = items.map { "\($0.slot.number)" }.joined(separator: ", ")
                log.say(
                    "the memory file of user \(items.first?.user ?? 0) in slots \(slots) did not come whole from the previous "
                        + "kernel, and is lost: \(error)")
            }
        }
        // The list may lack files that the journal names.
        vault.skipSlots()
    }

    /// Whether the state has lost its arena, as on a tmpfs. An arena that cannot be looked at must not be overwritten.
    private func lacksArena() throws(SystemCallError) -> Bool {
        do throws(SystemCallError) {
            _ = try FileStatus(at: state.arena, followingLinks: false)
            return false
        } catch {
            if error.errno == .noSuchFileOrDirectory { return true }
            throw error
        }
    }

    /// Retrieves a file. It is held in all of its slots, or in none.
    private func receive(
        _ token: UInt64, _ items: [KernelCargo.Item], from session: KernelSession, into vault: DescriptorVault
    ) throws(SystemCallError) {
        let file = try session.retrieve(token: token)
        // The kernel gives all users all rights to the file. No client may get the file before that is undone.
        if let item = items.first {
            try file.borrowed.setRights(item.permissions, owner: item.owner, group: item.group)
        }
        var opened: [(HeldSlot, FileDescriptor)] = []
        do throws(SystemCallError) {
            for item in items {
                let one = try file.borrowed.reopened(item.mode)
                try one.borrowed.setPosition(Int64(item.position))
                let label = DescriptorLabel(user: item.user, traits: .cameWithKernel)
                opened.append((HeldSlot(slot: item.slot, kind: .file, label: label), one.release()))
            }
        } catch {
            for (held, descriptor) in opened { vault.close(descriptor, of: held.label.user) }
            throw error
        }
        for (held, descriptor) in opened { vault.keep(held, descriptor) }
        do throws(SystemCallError) {
            try seal(file.borrowed, as: items)
        } catch {
            log.say("the memory file in slot \(opened.first?.0.slot.number ?? 0) has lost its seals: \(error)")
        }
    }

    /// Retrieves the session, and waits while another program has the device or the session open. luod must not begin
    /// without the session.
    ///
    /// - Returns: nil when the previous kernel has handed over no such session.
    /// - Throws: StartFailure when the device or the session stays open in another program, and for the other errors
    ///   of the kernel.
    private func retrieve(_ name: SessionName) throws -> KernelSession? {
        for _ in 0..<Self.attempts {
            do throws(SystemCallError) {
                return try KernelSession.retrieve(name)
            } catch {
                // EINVAL: another luod, which is about to end, has the session open.
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
            "the session \(name) of /dev/liveupdate cannot be retrieved, because another program has the device or the "
                + "session open: end that program, and start luod again")
    }

    /// The attempts to open the device, ten in a second.
    private static let attempts = 50

    private func content(of token: UInt64, in session: KernelSession) throws(SystemCallError) -> [UInt8] {
        let file = try session.retrieve(token: token)
        return try file.borrowed.bytes(at: 0, count: Int(try FileStatus(of: file.borrowed).size))
    }

    /// Writes the arena. If that fails, this tries again each second, because luod must not begin without the arena.
    private func writePatiently(_ bytes: [UInt8], to path: String) {
        var isLogged = false
        while true {
            do throws(SystemCallError) {
                // PATH.new is the arena that another luod may be making.
                return try replaceFile(path, with: bytes, by: path + ".kernel")
            } catch {
                if !isLogged {
                    log.say(
                        "the state of the previous kernel cannot be written to \(path): \(error); luod waits: make room, or "
                            + "make it writable")
                }
                isLogged = true
                sleep(1)
            }
        }
    }

    /// Adds the seals that the file has lost on its way.
    private func seal(_ file: FileDescriptor, as items: [KernelCargo.Item]) throws(SystemCallError) {
        let recorded = items.reduce(Seals()) { $0.union($1.seals) }
        let missing = recorded.subtracting(try file.seals())
        if !missing.isEmpty { try file.addSeals(missing) }
    }
}
