// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdatePlatform
import SystemPackage
import TestSupport

/// A service manager for luod: it reads notifications, and stores descriptors.
final class ServiceManager: Sendable {
    let path: String
    private let socket: OwnedDescriptor
    private let state = Guarded(State())

    private struct State: Sendable {
        var hasEnded = false
        var lines: [String] = []
        var stored: [String: FileDescriptor] = [:]
        var order: [String] = []
    }

    init() throws {
        path = FileManager.default.temporaryDirectory.appendingPathComponent("notify-\(UUID().uuidString)").path
        let number = Glibc.socket(AF_UNIX, CInt(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        socket = OwnedDescriptor(taking: FileDescriptor(rawValue: number))
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: path.utf8) }
        let result = unsafe withUnsafePointer(to: &address) { pointer in
            // SAFETY: a sockaddr_un is a sockaddr of its family.
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe bind(number, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard result == 0 else { throw SystemCallError("bind", Errno(rawValue: Glibc.errno)) }
    }

    /// Reads each notification at once in a separate thread, because luod would wait for it.
    func start() {
        Thread.detachNewThread { [state, descriptor = socket.borrowed] in
            while !state.with({ $0.hasEnded }) {
                guard descriptor.isReadable(within: 100) else { continue }
                state.with { state in
                    guard !state.hasEnded, let message = try? descriptor.receive(.now) else { return }
                    let lines = String(decoding: message.bytes, as: UTF8.self).split(separator: "\n").map(String.init)
                    Self.note(lines, message.descriptors, &state)
                }
            }
        }
    }

    deinit {
        // After this line no more is read, because the number of the socket may soon be used again.
        state.with { $0.hasEnded = true }
        for descriptor in state.with({ $0.stored.values }) { try? descriptor.close() }
        try? FileManager.default.removeItem(atPath: path)
    }

    var environment: [String] { ["NOTIFY_SOCKET=\(path)"] }

    /// All lines so far.
    var lines: [String] { state.with { $0.lines } }

    /// The stored descriptors, in the order of their arrival.
    var stored: [(name: String, descriptor: FileDescriptor)] {
        state.with { state in
            state.order.compactMap { name in state.stored[name].map { (name, $0) } }
        }
    }

    /// The stored descriptors of one kind. docs/systemd.md gives the kinds numbers.
    func stored(_ kind: Int) -> [FileDescriptor] {
        stored.filter { $0.name.hasPrefix("luo-\(kind)-") }.map(\.descriptor)
    }

    private static func note(_ lines: [String], _ descriptors: [FileDescriptor], _ state: inout State) {
        state.lines += lines
        let name = lines.first { $0.hasPrefix("FDNAME=") }.map { String($0.dropFirst(7)) } ?? ""
        if lines.contains("FDSTORE=1"), let descriptor = descriptors.first {
            state.stored[name] = descriptor
            state.order.append(name)
        } else {
            // The close of its descriptor passes a barrier.
            for descriptor in descriptors { try? descriptor.close() }
        }
        if lines.contains("FDSTOREREMOVE=1") {
            try? state.stored.removeValue(forKey: name)?.close()
            state.order.removeAll { $0 == name }
        }
    }
}
