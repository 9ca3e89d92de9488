// SPDX-License-Identifier: Apache-2.0

/// The name of a client's request, given by the program that serves clients. After a crash, the next process finds out
/// by this name whether the request was done.
package struct RequestID: Hashable, Sendable {
    /// The slot that holds the descriptor of the client's connection.
    package let connection: DescriptorSlot
    /// The client's number for the request. It differs from the number of the request before.
    package let tag: UInt64

    /// Names a request.
    package init(connection: DescriptorSlot, tag: UInt64) {
        self.connection = connection
        self.tag = tag
    }
}

/// The answer to a request, committed together with the changes that the request made.
package struct Answer: Hashable, Sendable {
    /// The request.
    package var request: RequestID
    /// The result of the request: 0, or a negative errno.
    package var result: Int32
    /// The slot of the descriptor that goes with the answer; ``DescriptorSlot/lost`` without one.
    package var slot: DescriptorSlot

    /// Makes an answer. The caller commits it.
    package init(_ request: RequestID, result: Int32 = 0, slot: DescriptorSlot = .lost) {
        self.request = request
        self.result = result
        self.slot = slot
    }
}
