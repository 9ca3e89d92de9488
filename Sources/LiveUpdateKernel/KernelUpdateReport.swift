// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform

/// The report of the last kernel update: the record of the old kernel, completed under the kernel that runs.
///
/// The clock of the machine can be set between two times. A duration that would be negative is unknown.
package struct KernelUpdateReport: Equatable, Sendable {
    /// The first service of luod under the last kernel that it has served under: the file `kernel` of its state.
    package struct Service: Equatable, Sendable {
        /// The boot ID of that kernel.
        package let boot: String
        /// The boot ID of the kernel under which luod served before; nil for none, and from an older luod.
        package let previousBoot: String?
        /// The time of the first service, in nanoseconds of CLOCK_REALTIME.
        package let began: Int64?

        /// Reads the lines of the file.
        ///
        /// - Parameters:
        ///   - text: the content of the file.
        ///   - modified: the time of its last change, in nanoseconds of CLOCK_REALTIME.
        package init(_ text: String, modified: Int64?) {
            let lines = text.split(separator: "\n").map { String($0) }
            boot = lines.first ?? ""
            previousBoot = lines.dropFirst().first
            began = modified
        }
    }

    /// The kernel that runs.
    package struct Running: Equatable, Sendable {
        package let release: String
        package let bootId: String
        /// The start of the kernel, in nanoseconds of CLOCK_REALTIME.
        package let began: Int64
        /// The first service of luod; nil when no luod has served the state.
        package let service: Service?

        package init(release: String, bootId: String, began: Int64, service: Service?) {
            self.release = release
            self.bootId = bootId
            self.began = began
            self.service = service
        }
    }

    /// The outcome of the kernel update.
    package enum Outcome: String, Sendable {
        /// The kernel was replaced, and luod answers.
        case replaced
        /// The kernel was replaced, and luod has not served its state since.
        case unanswered
        /// The old kernel still runs.
        case notReplaced = "not-replaced"
        /// The kernel was restarted after the update, so that the times of the update's next kernel are lost.
        case restarted
    }

    /// The parts of the blackout, in nanoseconds. Nil: unknown.
    package struct Parts: Equatable, Sendable {
        /// The freeze and the publishing. Nil also when luod did that in its stop.
        package var freeze: UInt64?
        /// The end of the old kernel: from then on until the next kernel started.
        package var end: UInt64?
        /// The boot: until luod answered.
        package var boot: UInt64?
        /// All of it.
        package var whole: UInt64?

        package init(freeze: UInt64? = nil, end: UInt64? = nil, boot: UInt64? = nil, whole: UInt64? = nil) {
            self.freeze = freeze
            self.end = end
            self.boot = boot
            self.whole = whole
        }
    }

    package let record: KernelUpdateRecord
    package let outcome: Outcome
    /// The release of the next kernel; nil when the kernel that runs is another one.
    package let release: String?
    /// The start of the next kernel; nil when the kernel that runs is another one.
    package let kernelBegan: KernelUpdateRecord.Moment?
    /// The time at which luod first answered under the next kernel.
    package let answered: KernelUpdateRecord.Moment?
    package let parts: Parts

    /// Completes a record.
    package init(_ record: KernelUpdateRecord, under running: Running) {
        self.record = record
        outcome = Self.outcome(of: record, under: running)
        let isNext = outcome == .replaced || outcome == .unanswered
        release = isNext ? running.release : nil
        kernelBegan = isNext ? KernelUpdateRecord.Moment(nanoseconds: running.began) : nil
        answered =
            outcome == .replaced
            ? running.service?.began.map { KernelUpdateRecord.Moment(nanoseconds: $0) } : nil
        let times = record.times
        parts = Parts(
            freeze: Self.duration(times.freezeBegan, times.published),
            end: Self.duration(times.published ?? times.kernelEnded, kernelBegan),
            boot: Self.duration(kernelBegan, answered),
            whole: Self.duration(times.freezeBegan ?? times.kernelEnded, answered))
    }

    /// Whether luod froze in its stop, which systemd ordered: then the freeze is in the end of the old kernel.
    package var frozeInStop: Bool { record.times.freezeBegan == nil }

    private static func outcome(of record: KernelUpdateRecord, under running: Running) -> Outcome {
        if record.bootId == running.bootId { return .notReplaced }
        guard let service = running.service, service.boot != record.bootId else { return .unanswered }
        return service.boot == running.bootId && service.previousBoot == record.bootId ? .replaced : .restarted
    }

    private static func duration(_ start: KernelUpdateRecord.Moment?, _ end: KernelUpdateRecord.Moment?) -> UInt64? {
        guard let start, let end else { return nil }
        let (difference, isTooLong) = end.nanoseconds.subtractingReportingOverflow(start.nanoseconds)
        return isTooLong ? nil : UInt64(exactly: difference)
    }
}
