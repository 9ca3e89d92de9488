import LiveUpdate
import Platform
public import SystemPackage
import Testing

/// A fault in a request: which of its system calls fails, with what, and whether all later ones do.
public struct FaultPlan: Sendable {
    /// Counted from 1.
    public let call: Int
    public let errno: Errno
    public let isSticky: Bool

    /// What a kernel in need answers. After EINTR the call is made again, so it is never seen.
    private static let errnos: [Errno] = [
        .interrupted, .ioError, .noMemory, .tooManyOpenFiles, .permissionDenied, .noSpace,
    ]

    /// Calls a scene with a fault in the first system call, the second, … until none is reached; that with several errnos,
    /// once and from then on. After each no descriptor is left.
    ///
    /// - Parameters:
    ///   - least: how many calls there are at least: else nothing was tested.
    ///   - scene: makes the request, and returns whether the fault was reached.
    public static func sweep(reaching least: Int = 2, _ scene: (FaultPlan) throws -> Bool) throws {
        var reached = 0
        // What the runtime opens once and for all.
        _ = try scene(FaultPlan(call: 100_000, errno: .ioError, isSticky: false))
        for errno in errnos.prefix(Scale.isSanitized ? 2 : errnos.count) {
            for isSticky in errno == .interrupted ? [false] : [false, true] {
                let before = try openFiles()
                var call = 1
                while try scene(FaultPlan(call: call, errno: errno, isSticky: isSticky)) {
                    #expect(try nothingIsLeft(since: before), "\(errno) in call \(call): descriptors are left")
                    call += 1
                }
                reached = max(reached, call - 1)
            }
        }
        #expect(reached >= least, "the sweep has reached too little")
    }

    /// Makes a request with this fault.
    ///
    /// - Returns: what it said, which is expected to be nothing else than the fault; and whether a call failed.
    public func apply<Value>(_ body: () throws -> Value) -> (answer: Errno?, wasInjected: Bool) {
        let run = FaultInjector.failing(call: call, with: errno, fromThenOn: isSticky) { failure(body) }
        if let answer = run.value {
            #expect(isThis(answer) && errno != .interrupted, "\(errno) in call \(call): \(answer)")
        }
        return (run.value?.errno, run.calls >= call)
    }

    /// A handler that cannot look at a file does not take it, and says why.
    private func isThis(_ answer: LiveUpdateError) -> Bool {
        answer.errno == errno || answer.errno == .noSuchFileOrDirectory && answer.reason.contains("\(errno)")
    }
}
