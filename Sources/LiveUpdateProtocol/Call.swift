// SPDX-License-Identifier: Apache-2.0

/// A call on a descriptor of `/dev/liveupdate` or of a session: its number within the ioctl's type 0xBA. The kernel has
/// six of them: 0x00, 0x01, and 0x40 to 0x43. The others are luod's own (docs/protocol.md).
package enum Call: UInt8, CaseIterable, Sendable {
    // Calls on the device.
    case createSession = 0x00
    case retrieveSession = 0x01
    case attachSession = 0x20
    case status = 0x21
    case load = 0x22
    case update = 0x23
    case reload = 0x24
    case serve = 0x25
    case openDevice = 0x26
    case identify = 0x27
    case asUser = 0x28
    case removeSession = 0x29
    case stop = 0x2A
    case ping = 0x2B
    case kernelUpdate = 0x2C

    // Calls on a session.
    case preserve = 0x40
    case retrieve = 0x41
    case finish = 0x42
    case getName = 0x43
    case unpreserve = 0x60
    case get = 0x61
    case check = 0x62
    case setDetached = 0x63
    case preserveHeld = 0x64
    case retrieveAsHeld = 0x65
    case subscribe = 0x66
    case ready = 0x67
    case attest = 0x68
    case attestation = 0x69

    /// The ioctl's command: `_IO(0xBA, number)`.
    package var command: UInt32 { Self.type | UInt32(rawValue) }

    static let type: UInt32 = 0xBA00

    /// The length of the call's struct, in bytes.
    package var length: Int {
        switch self {
        case .createSession, .retrieveSession, .attachSession, .getName: 72
        case .removeSession, .stop, .load, .update, .reload, .kernelUpdate: UpdateCall.length
        case .preserve, .retrieve, .unpreserve, .get, .check, .preserveHeld, .retrieveAsHeld, .identify, .ready,
            .attest,
            .attestation:
            16
        case .status: StatusCall.length
        case .finish, .setDetached, .serve, .openDevice, .asUser, .ping, .subscribe: 8
        }
    }

    /// Whether the call is made on a session.
    package var isOnSession: Bool { rawValue & 0x40 != 0 }

    /// Whether the call needs an outgoing session (true) or an incoming one (false); nil for both.
    package var wantsOutgoing: Bool? {
        switch self {
        case .preserve, .preserveHeld, .unpreserve, .get, .check, .attest: true
        case .retrieve, .retrieveAsHeld, .finish: false
        default: nil
        }
    }

    /// Whether only root and the user that runs luod may make the call.
    package var isPrivileged: Bool {
        [.load, .update, .reload, .openDevice, .identify, .stop, .kernelUpdate].contains(self)
    }

    /// Whether the answer has an explanation, in the text of its struct (``UpdateCall``).
    package var explainsItself: Bool { [.load, .update, .reload, .removeSession, .stop, .kernelUpdate].contains(self) }

    /// Whether the call is about a descriptor of the caller.
    package var takesDescriptor: Bool { [.preserve, .preserveHeld, .check, .serve, .attest].contains(self) }

    /// Whether the answer has a descriptor of a session.
    package var bringsSession: Bool { [.createSession, .retrieveSession, .attachSession].contains(self) }

    /// Whether the answer has values in its struct.
    package var answersInStruct: Bool {
        bringsDescriptor || explainsItself || [.getName, .identify].contains(self)
    }

    /// Whether the answer has a descriptor.
    package var bringsDescriptor: Bool {
        switch self {
        case .createSession, .retrieveSession, .attachSession, .retrieve, .retrieveAsHeld, .get, .openDevice,
            .attestation:
            true
        default: false
        }
    }
}

/// The errors of an invalid message on the socket, as negative errnos.
package enum CallError {
    package static let invalid: Int32 = -22
    package static let fault: Int32 = -14
    package static let wrongType: Int32 = -25
    package static let tooBig: Int32 = -7
}
