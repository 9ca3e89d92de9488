// SPDX-License-Identifier: Apache-2.0
package import LiveUpdateCore
import LiveUpdateHandover
package import SystemPackage

/// The kind of a hand-over: the next image begins the next boot, or goes on with the same boot.
package enum HandOverKind: UInt8, Sendable {
    /// The next image is the next boot.
    case update = 1
    /// The next image goes on with the same boot.
    case reload = 2
}

/// A client that asks for an update.
package struct UpdateClient: Equatable, Sendable, CustomStringConvertible {
    package let user: UInt32
    /// The process that has connected; 0 when it is not known.
    package let process: Int32

    package init(user: UInt32, process: Int32) {
        self.user = user
        self.process = process
    }

    package var description: String { process == 0 ? "user \(user)" : "user \(user), process \(process)" }
}

/// A request of a client to load an image, to update, or to reload.
package struct UpdateRequest: Equatable, Sendable {
    package enum Kind: Sendable {
        /// Start the next image, and leave it in standby.
        case load
        /// End this boot and begin the next one.
        case update
        /// Replace the program, and go on with the same boot.
        case reload
        /// Replace the program of the process between the two boots (the keeper), and go on with the same boot.
        case reloadKeeper
    }

    package let kind: Kind
    /// The path of the image. If it is empty, the standby is meant, or without a standby the image that runs.
    package var image = ""
    /// Whether sessions that are not finished may be lost.
    package var discards = false
    /// Whether the update may go on without files that cannot be frozen.
    package var leavesOut = false
    /// How long the update waits until all subscribers are ready, in nanoseconds.
    package var patience: UInt64 = 0
    /// Whether the update may go on without subscribers that are not ready in time.
    package var goesOnWithoutReady = false
    package var client = UpdateClient(user: 0, process: 0)
    /// The time at which the client sent the request, as the client says: CLOCK_MONOTONIC in nanoseconds; 0 when it
    /// does not say.
    package var sent: UInt64 = 0
    /// The time at which the request was read: CLOCK_MONOTONIC in nanoseconds.
    package var read: UInt64 = 0

    package init(_ kind: Kind) { self.kind = kind }
}

/// The reason of a failed update, load or reload, as the client gets it.
package struct UpdateRefusal: Equatable, Sendable {
    /// The kind of failure.
    package enum Cause: Equatable, Sendable {
        /// Another update runs, or ran when the request was sent.
        case busy
        /// The path of the image is too long.
        case tooLong
        /// The image cannot be the next one.
        case image
        /// A subscriber was not ready in time.
        case notReady
        /// The update was called off after the state was handed over.
        case calledOff
        /// The process between the two boots (the keeper) is gone.
        case alone
        /// An error of the core, as an errno.
        case core(Int32)
    }

    package let cause: Cause
    package let reason: String

    package init(_ cause: Cause, _ reason: String) {
        self.cause = cause
        self.reason = reason
    }

    /// The errno of the answer.
    package var errno: Errno {
        switch cause {
        case .busy: .resourceBusy
        case .tooLong: .fileNameTooLong
        case .image: .notSupported
        case .notReady: .timedOut
        case .calledOff: .canceled
        case .alone: .socketNotConnected
        case .core(let number): Errno(rawValue: number)
        }
    }
}

/// An update or a reload with which this process began to serve.
///
/// A request that was sent during this update is read only after it. Its client did not know of this update, and with
/// `--discard` it would lose all sessions that were just handed over. So such a request is refused.
package struct EarlierUpdate: Equatable, Sendable {
    package let kind: HandOverKind
    /// The client of the request; nil when it had gone.
    package let client: UpdateClient?
    /// The times at which the request for the earlier update was read, and at which this process took over.
    package let began: UInt64
    package let ended: UInt64

    package init(_ kind: HandOverKind, by client: UpdateClient?, began: UInt64, ended: UInt64) {
        self.kind = kind
        self.client = client
        self.began = began
        self.ended = ended
    }

    /// The longest time in nanoseconds by which a refused request was sent before the earlier update began. Such a
    /// request can also be read after the update. A larger difference comes from another clock (time_namespaces(7)) and
    /// says nothing.
    private static let margin: UInt64 = 10_000_000_000

    /// The reason to refuse a request that was sent while this update ran; nil for any other.
    package func refusal(of request: UpdateRequest) -> UpdateRefusal? {
        guard request.sent != 0, request.sent < ended, request.sent >= began - min(began, Self.margin) else {
            return nil
        }
        let by = client.map { " by \($0)" } ?? ""
        let length = (ended - min(began, ended)) / 1_000_000
        return UpdateRefusal(
            .busy,
            "\(kind.noun)\(by) ran when this was asked for, and has ended after \(length) ms\n"
                + "remedy: look at the status, and ask again if it is still wanted")
    }
}

extension HandOverKind {
    package var noun: String {
        switch self {
        case .update: "an update"
        case .reload: "a reload"
        }
    }
}

extension UpdateRequest.Kind {
    package var name: String {
        switch self {
        case .load: "load"
        case .update: "update"
        case .reload: "reload"
        case .reloadKeeper: "reload of the keeper"
        }
    }

    package var noun: String { (self == .update ? "an " : "a ") + name }
}

/// The part of an update's request that the next image needs besides the arena: the client to answer, the times until
/// then, and the cost for the answer.
package struct HandOverNote: Equatable, Sendable {
    package var request: RequestID
    package var times: [UInt64]
    /// One line for each file and session that the update left out or lost.
    package var cost: String

    package init(_ request: RequestID, times: [UInt64], cost: String) {
        self.request = request
        self.times = times
        self.cost = cost
    }

    package init?(_ bytes: [UInt8]) {
        var reader = ByteReader(bytes, "note")
        guard let slot: Int64 = try? reader.take(), let tag: UInt64 = try? reader.take(),
            let count: UInt32 = try? reader.take()
        else { return nil }
        request = RequestID(connection: DescriptorSlot(slot), tag: tag)
        times = []
        for _ in 0..<count {
            guard let time: UInt64 = try? reader.take() else { return nil }
            times.append(time)
        }
        cost = (try? reader.takeCountedString()) ?? ""
    }

    package var bytes: [UInt8] {
        var writer = ByteWriter(capacity: 64 + cost.utf8.count)
        writer.put(request.connection.number)
        writer.put(request.tag)
        writer.put(UInt32(times.count))
        for time in times { writer.put(time) }
        writer.put(counted: cost)
        return writer.bytes
    }
}
