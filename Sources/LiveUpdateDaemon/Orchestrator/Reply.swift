import LiveUpdate
import LiveUpdateProtocol
import SystemPackage

/// An answer, with the descriptor that goes with it.
struct Reply {
    var response: Response
    var descriptor: FileDescriptor?
    /// Whether that descriptor is only for this answer: it is closed then.
    var isOwned = false
    /// Whether the descriptor is a copy of a descriptor in a slot. The copy is closed after the answer, too.
    var isCopy = false
    /// Whether the client did not read at first.
    var isDelayed = false
    /// What was kept only until the answer was sent.
    var kept: DescriptorSlot?
    /// The failure that this reply tells of, for a client that asks for reasons.
    private var error: LiveUpdateError?

    init(_ result: Int32, body: [UInt8] = []) { response = Response(result: result, body: body, tag: 0) }

    /// A reply with a copy of a descriptor in a slot.
    init(_ result: Int32, body: [UInt8], copy: FileDescriptor) {
        self.init(result, body: body)
        descriptor = copy
        isCopy = true
    }

    /// A reply that tells of a failure.
    init(_ error: LiveUpdateError) {
        self.init(-error.errno.rawValue)
        self.error = LuoctlRemedies.adapted(error)
    }

    /// The same reply, with the tag of its request, and the reason if the client asks for it.
    func completed(for request: Request) -> Reply {
        var reply = self
        reply.response.complete(for: request, error)
        return reply
    }

    /// The same reply, to a message that is no request.
    func completed(for malformed: Malformed) -> Reply {
        var reply = self
        reply.response.complete(for: malformed, error ?? malformed.error)
        return reply
    }
}
