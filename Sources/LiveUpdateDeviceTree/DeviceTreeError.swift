// SPDX-License-Identifier: Apache-2.0
import CLiveUpdateFDT

/// The error of a tree that could not be written or read.
package struct DeviceTreeError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The action that failed.
    package let action: String
    /// The reason, in libfdt's words.
    package let reason: String

    init(_ action: String, _ code: CInt) {
        self.action = action
        reason = unsafe String(cString: fdt_strerror(code))
    }

    /// Makes an error that a reader of a tree found, and libfdt cannot know.
    package init(_ action: String, reason: String) {
        self.action = action
        self.reason = reason
    }

    package var description: String { "device tree: \(action): \(reason)" }
}
