import Platform
import SystemPackage

/// Which boot goes on when the keeper dies in the middle of an update: whoever takes the one message that is in this
/// socket's queue, which only one of two processes can.
///
/// The old one takes it before it goes on without the keeper, and the next one when the keeper tells it to go.
final class Baton {
    private let queue: OwnedDescriptor

    /// Takes part, by a descriptor that was sent.
    init(_ queue: consuming OwnedDescriptor) { self.queue = queue }

    /// One that nobody has taken.
    ///
    /// - Throws: EMFILE.
    static func make() throws(SystemCallError) -> Baton {
        let (reading, writing) = try MessageSocket.pair()
        let baton = Baton(OwnedDescriptor(taking: reading))
        let end = OwnedDescriptor(taking: writing)
        try end.borrowed.send([1])
        return baton
    }

    var descriptor: FileDescriptor { queue.borrowed }

    /// - Returns: whether it is ours; false when the other one has it.
    func take() -> Bool {
        let message = try? queue.borrowed.receive(.now)
        return message != nil
    }
}
