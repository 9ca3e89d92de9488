// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform

extension Arena {
    /// Bytes of the journal's region that hold records, with its header.
    package var journalUsed: UInt64 { lock.withLock { unsafe state.tail } }
}
