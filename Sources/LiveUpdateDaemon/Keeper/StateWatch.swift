// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdatePlatform
import Logging
import SystemPackage

/// Looks at the names of the state once a second. Another program may remove them while luod runs.
///
/// 1. A socket without its name is made again, in the same slot. Connections go on.
/// 2. An arena without its name cannot get the name back. The log says that the state ends with luod.
final class StateWatch {
    private let rooms: KeeperRooms
    private var nextLook: UInt64 = 0
    /// The sockets that could not be made at the last attempt. The log has only the first of several failures.
    private var failing: Set<DescriptorKind> = []
    private var hasSaidNoArena = false

    /// The time between two looks, in milliseconds.
    private static let interval: UInt64 = 1000

    init(_ rooms: KeeperRooms) { self.rooms = rooms }

    /// Makes the missing sockets again, if it is time for a look.
    ///
    /// - Parameter tell: sends a message with descriptors to the orchestrator and to a standby.
    func look(_ tell: (ControlMessage, [FileDescriptor]) -> Void) {
        let now = milliseconds()
        guard now >= nextLook else { return }
        nextLook = now + Self.interval
        lookAtArena()
        for kind in [DescriptorKind.control, .rootListener, .listener] {
            guard let entry = rooms.vault.all.first(where: { $0.held.kind == kind }),
                !entry.held.label.traits.contains(.wasPassed)
            else { continue }
            let path = state.socket(kind)
            if unsafe access(path, F_OK) != 0 { replace(entry.held, at: path, tell) }
        }
    }

    private var state: StateDirectory { StateDirectory(rooms.settings.state) }

    private func replace(_ held: HeldSlot, at path: String, _ tell: (ControlMessage, [FileDescriptor]) -> Void) {
        do throws(SystemCallError) {
            let socket = try state.makeSocket(held.kind, rooms.settings)
            tell(.hold([held]), [socket.borrowed])
            rooms.vault.keep(held, socket.release())
            rooms.service.note(held.slot)
            failing.remove(held.kind)
            rooms.log.say("the socket \(path) was removed, and is made again", .warning)
        } catch {
            // The socket is there, but not with its group: clients must not use it.
            if error.errno == .notPermitted { _ = unsafe unlink(path) }
            guard failing.insert(held.kind).inserted else { return }
            rooms.log.say(
                "the socket \(path) was removed, so that no client can connect: \(error); make the directory "
                    + "\(rooms.settings.state) writable, or make it again, with mode 0711", .error)
        }
    }

    private func lookAtArena() {
        guard !hasSaidNoArena, !rooms.settings.endsUnused, let arena = rooms.vault.descriptor(.arena),
            !state.hasArena(arena)
        else { return }
        hasSaidNoArena = true
        rooms.memory.arenaIsRemoved = true
        rooms.log.say(
            "the arena \(state.arena) was removed: the state ends with luod; finish its sessions, and then start luod "
                + "again", .error)
    }
}

extension StateDirectory {
    /// The path of a listening socket.
    fileprivate func socket(_ kind: DescriptorKind) -> String {
        switch kind {
        case .control: controlSocket
        case .rootListener: rootSocket
        default: clientSocket
        }
    }

    /// Whether the arena of this directory is this file. A name that cannot be looked up counts as removed.
    func hasArena(_ file: FileDescriptor) -> Bool {
        guard let held = try? FileStatus(of: file).identity else { return false }
        return (try? FileStatus(at: arena, followingLinks: false).identity) == held
    }
}
