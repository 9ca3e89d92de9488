// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
package import SystemPackage
import Testing

#if DEBUG
    /// A fault in a request: the system call that fails, its errno, and whether all later calls fail, too.
    package struct FaultPlan: Sendable {
        /// The number of the failing call, counted from 1.
        package let call: Int
        package let errno: Errno
        package let isSticky: Bool

        /// The errors of a kernel in need. A call is repeated after EINTR, so this error must not reach the caller.
        private static let errnos: [Errno] = [
            .interrupted, .ioError, .noMemory, .tooManyOpenFiles, .permissionDenied, .noSpace,
        ]

        /// Calls a scene with a fault in the first system call, the second, … until the request makes fewer calls.
        /// Repeats that with several errnos, once and from then on. After each run no descriptor is left.
        ///
        /// `least` is the least number of calls. With fewer, the sweep would test nothing. `scene` makes the request,
        /// and returns whether the fault was reached.
        package static func sweep(reaching least: Int = 2, _ scene: (FaultPlan) throws -> Bool) throws {
            var reached = 0
            // The first run opens the files that the runtime opens only once.
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
        /// - Returns: the error of the request, which must be the fault, and whether a call failed.
        package func apply<Value>(_ body: () throws -> Value) -> (answer: Errno?, wasInjected: Bool) {
            let run = FaultInjector.failing(call: call, with: errno, fromThenOn: isSticky) { failure(body) }
            if let answer = run.value {
                #expect(isThis(answer) && errno != .interrupted, "\(errno) in call \(call): \(answer)")
            }
            return (run.value?.errno, run.calls >= call)
        }

        /// Whether the answer is the injected fault. A handler that cannot look at a file refuses it, and gives the
        /// fault as the reason.
        private func isThis(_ answer: LiveUpdateError) -> Bool {
            answer.errno == errno || answer.errno == .noSuchFileOrDirectory && answer.reason.contains("\(errno)")
        }
    }
#endif
