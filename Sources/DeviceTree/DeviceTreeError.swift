import CLibFDT

/// What libfdt said about a tree that it could not write or read.
public struct DeviceTreeError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What was being done.
    public let action: String
    /// In libfdt's words.
    public let reason: String

    init(_ action: String, _ code: CInt) {
        self.action = action
        reason = unsafe String(cString: fdt_strerror(code))
    }

    /// What a reader found that libfdt cannot know.
    public init(_ action: String, reason: String) {
        self.action = action
        self.reason = reason
    }

    public var description: String { "device tree: \(action): \(reason)" }
}
