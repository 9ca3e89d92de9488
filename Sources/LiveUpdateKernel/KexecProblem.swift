// SPDX-License-Identifier: Apache-2.0

/// A reason not to replace the kernel now.
package struct KexecProblem: Error, Equatable, Sendable, CustomStringConvertible {
    /// The kind of a problem. Its name is in JSON.
    package enum Kind: String, CaseIterable, Sendable {
        case noKexec = "no-kexec"
        case kexecDisabled = "kexec-disabled"
        case noRight = "no-right"
        case unsigned
        case kernelMissing = "kernel-missing"
        case kernelDefective = "kernel-defective"
        case kernelNotUnpacked = "kernel-not-unpacked"
        case initrdMissing = "initrd-missing"
        case commandLineTooLong = "command-line-too-long"
        case memmapMissing = "memmap-missing"
        case memmapConflict = "memmap-conflict"
        case regionHidden = "region-hidden"
        case devdaxBecomesRAM = "devdax-becomes-ram"
        case liveUpdateOff = "live-update-off"
        case formatsDiffer = "formats-differ"
        case formatsUnknown = "formats-unknown"
        case noDaemon = "no-luod"
        case daemonHidden = "luod-hidden"
        case daemonUnable = "luod-unable"
        case daemonIgnored = "luod-ignored"
        case noCarrier = "no-carrier"
        case noMemory = "no-memory"
        case unfinished

        /// The allowance with which the problem is only noted.
        var allowance: KexecSituation.Allowances? {
            switch self {
            case .kernelNotUnpacked, .formatsUnknown: .uncheckedImage
            case .noCarrier: .leavingBehind
            case .unfinished: .discarding
            case .noDaemon, .daemonHidden: .withoutDaemon
            default: nil
            }
        }
    }

    /// The kind.
    package let kind: Kind
    /// The thing that has the problem: a file, a region, the command line.
    package let subject: String
    /// The problem in words.
    package let reason: String
    /// The remedy.
    package let remedy: String

    package init(_ kind: Kind, on subject: String, _ reason: String, remedy: String) {
        self.kind = kind
        self.subject = subject
        self.reason = reason
        self.remedy = remedy
    }

    package var description: String { "\(subject): \(reason); \(remedy)" }
}
