// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage

/// The kernel's own device, or a session of it: the same structs, with ioctl(2). Tested with Linux 7.3.4.
final class KernelChannel: Channel {
    private let owned: OwnedDescriptor

    init(_ owned: consuming OwnedDescriptor) { self.owned = owned }

    var descriptor: FileDescriptor { owned.borrowed }

    func unanswered(_ subject: String) -> LiveUpdateError? { nil }

    func session(_ descriptor: consuming OwnedDescriptor) -> any Channel { KernelChannel(descriptor) }

    func answer(to call: Call, _ body: [UInt8], about file: FileDescriptor?) throws(SystemCallError) -> CallAnswer {
        // The kernel's answer to an unknown number is the same as its answer to a wrong argument.
        guard !call.isExtension else { throw SystemCallError("ioctl", .inappropriateIOCTLForDevice) }
        var argument = body
        if let file { argument.setDescriptor(file.rawValue) }
        do throws(SystemCallError) {
            try descriptor.control(call.command, &argument)
        } catch {
            return CallAnswer(failure: error.errno, answerer: .kernel, body: argument)
        }
        return CallAnswer(
            answerer: .kernel, body: argument, descriptor: call.givesDescriptor ? argument.descriptor : nil)
    }
}

extension Call {
    /// Whether the kernel's device lacks the call.
    var isExtension: Bool { 0x20...0x3F ~= rawValue || 0x60...0x7F ~= rawValue }

    /// Whether the struct of the answer has a descriptor.
    fileprivate var givesDescriptor: Bool { [.createSession, .retrieveSession, .retrieve].contains(self) }
}

extension [UInt8] {
    /// The s32 after the size. All structs with a descriptor have it there.
    fileprivate var descriptor: FileDescriptor {
        // SAFETY: every struct with a descriptor is longer than 8 bytes.
        FileDescriptor(
            rawValue: unsafe withUnsafeBytes { unsafe $0.loadUnaligned(fromByteOffset: 4, as: CInt.self) })
    }

    fileprivate mutating func setDescriptor(_ number: CInt) {
        // SAFETY: as above.
        unsafe withUnsafeMutableBytes { unsafe $0.storeBytes(of: number, toByteOffset: 4, as: CInt.self) }
    }
}
