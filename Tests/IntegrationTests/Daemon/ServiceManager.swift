import Foundation
import Glibc
import Platform
import SystemPackage
import TestSupport

/// What a service manager does that has started luod: it reads its notifications, and stores descriptors.
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
            // SAFETY: a sockaddr_un is what a sockaddr of its family is.
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe bind(number, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard result == 0 else { throw SystemCallError("bind", Errno(rawValue: Glibc.errno)) }
    }

    /// Reads as it comes, whatever else the tests do: else luod would wait for it.
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
        // No more is read after this: the socket's number may be another's soon.
        state.with { $0.hasEnded = true }
        for descriptor in state.with({ $0.stored.values }) { try? descriptor.close() }
        try? FileManager.default.removeItem(atPath: path)
    }

    var environment: [String] { ["NOTIFY_SOCKET=\(path)"] }

    /// All lines so far.
    var lines: [String] { state.with { $0.lines } }

    /// What it stores now, in the order in which it came.
    var stored: [(name: String, descriptor: FileDescriptor)] {
        state.with { state in
            state.order.compactMap { name in state.stored[name].map { (name, $0) } }
        }
    }

    /// Of one kind of descriptor: docs/systemd.md names them by a number.
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
            // A barrier is passed when its descriptor is closed.
            for descriptor in descriptors { try? descriptor.close() }
        }
        if lines.contains("FDSTOREREMOVE=1") {
            try? state.stored.removeValue(forKey: name)?.close()
            state.order.removeAll { $0 == name }
        }
    }
}
