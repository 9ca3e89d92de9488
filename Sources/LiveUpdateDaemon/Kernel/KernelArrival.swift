// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage

/// The carrier of memory files from the previous kernel, in the next boot: the session that ``KernelDeparture`` has
/// filled.
///
/// 1. The keeper retrieves the list, the arena and all files from the kernel.
/// 2. The arena gets its name in the state, unless the state is on a file system that has kept it.
/// 3. The descriptors go into their slots, and the kernel's session is finished.
enum KernelArrival {
    /// Retrieves everything that the previous kernel has handed over for a state.
    ///
    /// - Parameters:
    ///   - state: the path of the state.
    ///   - arena: the path of the arena.
    ///   - vault: gets the descriptors.
    /// - Returns: whether there was a session.
    /// - Throws: the errors of the kernel, and of writing the arena. Everything is then lost with the session, so luod
    ///   must not go on as if there were nothing.
    static func receive(state: String, arena: String, into vault: DescriptorVault) throws -> Bool {
        guard KernelSession.isPossible, let session = try retrieve(KernelCargo.sessionName(ofState: state)) else {
            return false
        }
        let cargo = try KernelCargo(content(of: KernelCargo.token, in: session))
        if (try? FileStatus(at: arena, followingLinks: false)) == nil {
            try write(try content(of: KernelCargo.arenaToken, in: session), to: arena)
        }
        for (token, items) in Dictionary(grouping: cargo.items, by: \.token) {
            let file = try session.retrieve(token: token)
            for item in items {
                let opened = try file.borrowed.reopened(item.mode)
                try opened.borrowed.setPosition(Int64(item.position))
                let label = DescriptorLabel(user: item.user, traits: .cameWithKernel)
                vault.keep(HeldSlot(slot: item.slot, kind: .file, label: label), opened.release())
            }
            try seal(file.borrowed, as: items)
        }
        try session.finish()
        return true
    }

    /// - Throws: StartFailure while another program has the device open. luod must not begin without its session.
    private static func retrieve(_ name: SessionName) throws -> KernelSession? {
        for _ in 0..<attempts {
            do throws(SystemCallError) {
                return try KernelSession.retrieve(name)
            } catch {
                guard error.errno == .resourceBusy else {
                    throw StartFailure(
                        .unavailable, "/dev/liveupdate: the session \(name) cannot be retrieved: \(error)")
                }
            }
            usleep(100_000)
        }
        throw StartFailure(
            .other,
            "/dev/liveupdate is open in another program, and may have a session of this state: end that program, and start luod again"
        )
    }

    /// The attempts to open the device, ten in a second.
    private static let attempts = 50

    private static func content(of token: UInt64, in session: KernelSession) throws(SystemCallError) -> [UInt8] {
        let file = try session.retrieve(token: token)
        return try file.borrowed.bytes(at: 0, count: Int(try FileStatus(of: file.borrowed).size))
    }

    private static func write(_ bytes: [UInt8], to path: String) throws(SystemCallError) {
        let unfinished = FilePath(path + ".kernel")
        try? removeFile(unfinished)
        let file = try makeFile(unfinished)
        try file.borrowed.writeWhole(bytes)
        try systemCall("fsync") { fsync(file.borrowed.rawValue) }
        try systemCall("rename") { unsafe rename(unfinished.string, path) }
    }

    /// Adds the seals that the file has lost on its way.
    private static func seal(_ file: FileDescriptor, as items: [KernelCargo.Item]) throws(SystemCallError) {
        let recorded = items.reduce(Seals()) { $0.union($1.seals) }
        let missing = recorded.subtracting(try file.seals())
        if !missing.isEmpty { try file.addSeals(missing) }
    }
}
