import Glibc
import LiveUpdate
import Platform
import SystemPackage

/// open(2), openat(2) and openat2(2).
extension GatedCall {
    func open(_ path: UInt64, _ flags: CInt, at directory: CInt) -> Outcome {
        let isNew = flags & (O_CREAT | O_EXCL) == O_CREAT | O_EXCL
        let paths = DevicePath(caller: notification.thread, directory: directory)
        guard flags & openOnlyPath == 0, let path = try? caller.string(at: path),
            paths.leadsToDevice(path, followsLinks: flags & O_NOFOLLOW == 0 && !isNew)
        else { return .foreign }
        let isOfDirectory = path.last == UInt8(ascii: "/")
        if isOfDirectory && flags & O_CREAT != 0 { return .failed(.isDirectory) }
        if isNew { return .failed(.fileExists) }
        if isOfDirectory || flags & O_DIRECTORY != 0 { return .failed(.notDirectory) }
        letOthersReceive()
        return openDevice(closedOnExec: flags & O_CLOEXEC != 0)
    }

    /// `struct open_how`: u64 flags, mode, resolve. Who resolves in a special way does not mean the device, and what is no
    /// way to open anything is left to the kernel, which says so.
    func openAsSaid(_ arguments: [UInt64]) -> Outcome {
        guard arguments[3] >= 24, let how = try? caller.bytes(at: arguments[2], count: 24), how.count == 24,
            how[4..<8].allSatisfy({ $0 == 0 }), how[16...].allSatisfy({ $0 == 0 })
        else { return .foreign }
        let flags = CInt(bitPattern: how[..<4].reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) })
        guard flags & O_CREAT != 0 || how[8..<16].allSatisfy({ $0 == 0 }) else { return .foreign }
        return open(arguments[1], flags, at: CInt(truncatingIfNeeded: arguments[0]))
    }

    private func openDevice(closedOnExec: Bool) -> Outcome {
        if let given = givenBefore { return .value(Int64(given)) }
        do throws(SystemCallError) {
            let user = try caller.user
            guard isWaiting else { return .failed(.interrupted) }
            let number = try program.gate.orchestrator.openDevice(for: user) { device throws(SystemCallError) in
                try give(device, closedOnExec: closedOnExec)
            }
            return .value(Int64(number))
        } catch {
            return .failed(error.errno)
        }
    }
}
