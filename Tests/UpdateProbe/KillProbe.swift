// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateHandover
import LiveUpdatePlatform

/// Kills this process at a store into the arena, given by `--kill BOOT STORE`. Boot 0 is the first one, and boot 1 is
/// the one after an update. Stores are counted from 0.
final class KillProbe: StoreProbe {
    private let store: Int
    private let count = Guarded(0)

    init?(_ arguments: [String] = CommandLine.arguments, isAfterUpdate: Bool) {
        guard let at = arguments.firstIndex(of: "--kill"), arguments.count > at + 2, let store = Int(arguments[at + 2]),
            arguments[at + 1] == (isAfterUpdate ? "1" : "0")
        else { return nil }
        self.store = store
    }

    func willStore(bytes: Int) -> Int {
        let number = count.with { count in
            count += 1
            return count - 1
        }
        if number == store { die() }
        return bytes
    }
}

/// Ends this process at once, without any cleanup.
func die() -> Never {
    kill(getpid(), SIGKILL)
    fatalError("it goes on")
}
