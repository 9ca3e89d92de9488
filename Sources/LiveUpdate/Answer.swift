/// A request of a client that waits for its answer, as the program that serves clients names it: so that the next
/// process, after a crash, knows whether it was done.
package struct RequestID: Hashable, Sendable {
    /// Where the descriptor of the client's connection is kept.
    package let connection: DescriptorSlot
    /// What the client calls the request: other than the one before.
    package let tag: UInt64

    /// Names a request.
    package init(connection: DescriptorSlot, tag: UInt64) {
        self.connection = connection
        self.tag = tag
    }
}

/// What a request was answered with, committed together with what it did.
package struct Answer: Hashable, Sendable {
    /// Which one.
    package var request: RequestID
    /// 0, or a negative errno.
    package var result: Int32
    /// Where the descriptor is kept that goes with it.
    package var slot: DescriptorSlot

    /// An answer that is to be committed.
    package init(_ request: RequestID, result: Int32 = 0, slot: DescriptorSlot = .lost) {
        self.request = request
        self.result = result
        self.slot = slot
    }
}
