// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage

/// Ends the process with SIGKILL after a number of stores into the arena. The stores of all boots are counted, in a
/// memory file that every image inherits.
final class DemoKill: StoreProbe {
    private static let variable = "LUO_DEMO_STORES"

    private let last: UInt64
    private let stores: Mapping
    private let lock = Lock()

    init(after last: UInt64) throws {
        self.last = last
        stores = try Self.counter()
    }

    private static func counter() throws(SystemCallError) -> Mapping {
        if let inherited = environmentVariable(variable).flatMap(CInt.init) {
            return try Mapping(of: FileDescriptor(rawValue: inherited), length: 4096, .shared(writable: true))
        }
        let file = try makeMemoryFile(named: "luoctl-demo-stores", size: 4096)
        try file.borrowed.setCloseOnExec(false)
        let mapping = try Mapping(of: file.borrowed, length: 4096, .shared(writable: true))
        unsafe setenv(variable, "\(file.release().rawValue)", 1)
        return mapping
    }

    /// The number of stores so far.
    var count: UInt64 { unsafe stores.bytes.load(as: UInt64.self) }

    func willStore(bytes count: Int) -> Int {
        lock.withLock {
            let before = self.count
            if before == last { _ = kill(getpid(), SIGKILL) }
            // SAFETY: the mapping has 4096 bytes.
            unsafe stores.bytes.storeBytes(of: before + 1, as: UInt64.self)
        }
        return count
    }
}
