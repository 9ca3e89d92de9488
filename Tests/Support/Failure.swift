// SPDX-License-Identifier: Apache-2.0
package import LiveUpdateCore
import LiveUpdateHandover
import LiveUpdatePlatform
package import SystemPackage

/// The error of a call; nil when the call worked.
package func failure<Value: ~Copyable>(_ body: () throws -> Value) -> LiveUpdateError? {
    do {
        _ = try body()
        return nil
    } catch let error as LiveUpdateError {
        return error
    } catch let error as ArenaError {
        return LiveUpdateError(error)
    } catch let error as SystemCallError {
        return LiveUpdateError(error, "a system call of the test's own")
    } catch {
        return LiveUpdateError(Errno(rawValue: -1), "another kind of error: \(error)")
    }
}

/// The errno of a call's error; nil when the call worked.
package func errno<Value: ~Copyable>(_ body: () throws -> Value) -> Errno? { failure(body)?.errno }
