// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage

/// The next image as its keeper sees it: its process, and the descriptors that it knows.
final class NextImage {
    let process: LinkedProcess
    let image: KeptImage
    /// The slots that the image knows.
    private var held: Set<DescriptorSlot> = []
    /// The slots whose labels have changed since the image got them.
    private var relabeled: Set<DescriptorSlot> = []
    /// Whether some changes were not sent to the image. ``feed(from:)`` sends them.
    private var isBehind = true

    /// The longest time that a message to the next image may delay the orchestrator's messages, in milliseconds. It is
    /// less than the time that the orchestrator waits for the keeper.
    private static let patience = 300

    /// Starts an image in standby. It gets the held descriptors once it reads, so that the keeper does not wait for its
    /// start.
    ///
    /// - Throws: ENOENT, EACCES and the other errors of starting a process.
    init(at path: String, _ settings: Settings, isStored: Bool, nextSlot: Int64) throws {
        image = try KeptImage(at: path)
        process = try LinkedProcess(starting: image.executable, .orchestrator, settings)
        // If the image has already ended, that is an event of its own.
        try? process.link.send(.stored(isStored))
        try? process.link.send(.begin(.standby, nextSlot: nextSlot))
    }

    /// Sends the image a change, without waiting. An image that lacks earlier changes gets this one later.
    func tell(_ message: ControlMessage, _ descriptors: [FileDescriptor] = []) throws(SystemCallError) {
        guard !isBehind else { return noteUnsent(message) }
        do throws(SystemCallError) {
            try process.link.send(message, descriptors, patience: 0)
        } catch {
            guard error.errno == .resourceTemporarilyUnavailable || error.isShortage else { throw error }
            isBehind = true
            return noteUnsent(message)
        }
        switch message {
        case .hold(let slots): held.formUnion(slots.map(\.slot))
        case .release(let slots): held.subtract(slots)
        default: break
        }
    }

    /// Notes a change that was not sent. Only a changed label must be noted, because ``feed(from:)`` finds all other
    /// changes in the table.
    private func noteUnsent(_ message: ControlMessage) {
        guard case .hold(let slots) = message else { return }
        relabeled.formUnion(slots.map(\.slot))
    }

    /// Sends the image all changes that it does not know yet.
    func feed(from table: DescriptorVault) throws(SystemCallError) {
        if isBehind {
            let all = table.all
            let kept = Set(all.map(\.held.slot))
            let gone = [DescriptorSlot](held.subtracting(kept))
            for batch in stride(from: 0, to: gone.count, by: 500) {
                let slots = [DescriptorSlot](gone[batch..<min(gone.count, batch + 500)])
                try process.link.send(.release(slots), patience: Self.patience)
            }
            let unknown = all.filter { !held.contains($0.held.slot) || relabeled.contains($0.held.slot) }
            try process.link.send(holding: unknown, patience: Self.patience)
            held = kept
            relabeled = []
            isBehind = false
        }
        try process.link.send(.begin(.standby, nextSlot: table.nextSlot), patience: Self.patience)
    }

    /// Sends the image a request.
    func ask(_ message: ControlMessage, _ descriptors: [FileDescriptor]) throws(SystemCallError) {
        try process.link.send(message, descriptors, patience: Self.patience)
    }
}
