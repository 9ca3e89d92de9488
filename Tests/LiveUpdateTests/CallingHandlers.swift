// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage
import TestSupport

/// Handlers and FLBs that make system calls in all of their callbacks, as production handlers do.
enum Calling {
    /// Retrieves token 2 as another open file description.
    static func handler() -> TestHandler {
        TestHandler { hooks in
            hooks.preserve = { file throws(LiveUpdateError) in
                let extents = try extents(of: file)
                return try file.storage.store([UInt8](repeating: UInt8(extents.count), count: 100_000))
            }
            hooks.freeze = { file throws(LiveUpdateError) in
                _ = try extents(of: file)
                return file.data
            }
            hooks.retrieve = { file throws(LiveUpdateError) in
                _ = try extents(of: file)
                return file.token == 2 ? .opened(try anew(file.descriptor ?? FileDescriptor(rawValue: -1))) : .kept
            }
            hooks.unpreserve = { file in _ = try? extents(of: file) }
            hooks.unfreeze = { file in _ = try? extents(of: file) }
            hooks.finish = { file in _ = try? extents(of: file) }
        }
    }

    static func flb() -> TestFLB {
        TestFLB { hooks in
            hooks.preserve = { context throws(LiveUpdateError) in
                try look()
                return try context.storage.store([7])
            }
            hooks.serialize = { context throws(LiveUpdateError) in
                try look()
                return try context.storage.store([7, 7])
            }
            hooks.retrieve = { _ throws(LiveUpdateError) in try look() }
            hooks.resume = { _ throws(LiveUpdateError) in try look() }
            hooks.unpreserve = { _ in try? look() }
            hooks.finish = { _ in try? look() }
        }
    }

    private static func look() throws(LiveUpdateError) {
        do throws(SystemCallError) { _ = try availableMemory() } catch {
            throw LiveUpdateError(error, "looking around")
        }
    }

    private static func extents(of file: FileContext) throws(LiveUpdateError) -> [Extent] {
        do throws(SystemCallError) {
            let view = try (file.descriptor ?? FileDescriptor(rawValue: -1)).reopenedForReading()
            return try dataExtents(of: view.borrowed, size: try FileStatus(of: view.borrowed).size)
        } catch {
            throw LiveUpdateError(error, "looking for data")
        }
    }

    static func anew(_ descriptor: FileDescriptor) throws(LiveUpdateError) -> FileDescriptor {
        do throws(SystemCallError) {
            return try descriptor.reopenedForReading().release()
        } catch {
            throw LiveUpdateError(error, "opening it anew")
        }
    }
}
