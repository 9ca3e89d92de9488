import Glibc
import Handover
import Platform

/// Kills this process at a store into the arena, as `--kill BOOT STORE` says: boot 0 is the first, 1 the one after an
/// update; stores are counted from 0.
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

/// Ends this process as nothing can be prepared for.
func die() -> Never {
    kill(getpid(), SIGKILL)
    fatalError("it goes on")
}
