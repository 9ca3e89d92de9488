// SPDX-License-Identifier: Apache-2.0
import LiveUpdateHandover
import LiveUpdatePlatform
import TestSupport

/// The error of opening an arena; nil when it opened.
func refusal(_ file: MemoryFile, _ options: Arena.Options = Arena.Options(limit: 1 << 20)) -> ArenaError? {
    do throws(ArenaError) {
        _ = try Arena(opening: try copy(of: file), options)
        return nil
    } catch {
        return error
    }
}

private func copy(of file: MemoryFile) throws(ArenaError) -> OwnedDescriptor {
    do throws(SystemCallError) {
        return try file.descriptor.duplicated()
    } catch {
        throw ArenaError(.space, "\(error)")
    }
}

/// The error of a call on an arena; nil when the call worked.
func arenaFailure<Value>(_ body: () throws -> Value) -> ArenaError? {
    do {
        _ = try body()
        return nil
    } catch {
        return error as? ArenaError
    }
}

/// A record that its number identifies.
func record(_ number: Int, bytes: Int = 16) -> JournalRecord {
    JournalRecord(
        type: UInt16(number % 60000), payload: [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: bytes))
}
