// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage

/// A program's open(2), creat(2), openat(2) or openat2(2), of the device or of another file.
struct DeviceOpen {
    let call: GatedCall

    /// Decides the outcome of the call, and opens the device if the call is about it. `path` is the address of the path
    /// in the caller's memory. `directory` is the caller's descriptor of the directory in which a relative path begins.
    func outcome(_ path: UInt64, _ flags: CInt, at directory: CInt) -> GatedCall.Outcome {
        let isNew = flags & (O_CREAT | O_EXCL) == O_CREAT | O_EXCL
        let paths = DevicePath(caller: call.notification.thread, directory: directory)
        guard flags & openOnlyPath == 0, let path = try? call.caller.string(at: path),
            paths.leadsToDevice(path, followsLinks: flags & O_NOFOLLOW == 0 && !isNew)
        else { return .foreign }
        let isOfDirectory = path.last == UInt8(ascii: "/")
        if isOfDirectory && flags & O_CREAT != 0 { return .failed(.isDirectory) }
        if isNew { return .failed(.fileExists) }
        if isOfDirectory || flags & O_DIRECTORY != 0 { return .failed(.notDirectory) }
        call.letOthersReceive()
        return openDevice(closedOnExec: flags & O_CLOEXEC != 0)
    }

    /// openat2(2). `struct open_how` is u64 flags, mode and resolve. A path with special resolution does not mean the
    /// device. Unknown flags are left to the kernel, which refuses them.
    func outcome(ofStruct arguments: [UInt64]) -> GatedCall.Outcome {
        guard arguments[3] >= 24, let how = try? call.caller.bytes(at: arguments[2], count: 24), how.count == 24,
            how[4..<8].allSatisfy({ $0 == 0 }), how[16...].allSatisfy({ $0 == 0 })
        else { return .foreign }
        let flags = CInt(bitPattern: how[..<4].reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) })
        guard flags & O_CREAT != 0 || how[8..<16].allSatisfy({ $0 == 0 }) else { return .foreign }
        return outcome(arguments[1], flags, at: CInt(truncatingIfNeeded: arguments[0]))
    }

    private func openDevice(closedOnExec: Bool) -> GatedCall.Outcome {
        if let given = call.given { return .value(Int64(given)) }
        do throws(SystemCallError) {
            let user = try call.caller.user
            guard call.isWaiting else { return .failed(.interrupted) }
            let number = try call.listener.gate.orchestrator.openDevice(for: user) { device throws(SystemCallError) in
                try call.give(device, closedOnExec: closedOnExec)
            }
            return .value(Int64(number))
        } catch {
            return .failed(error.errno)
        }
    }
}
