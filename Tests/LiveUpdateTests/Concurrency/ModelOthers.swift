// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// Requests that do not belong to a session.
extension ModelWorld {
    // MARK: FLBs

    /// The body of a getter's closure. It checks the object, and that a request from here is refused.
    private func use(_ object: ModelFLB.Object) {
        #expect(object.isAlive)
        #expect(errno { try boot.createSession("inside") } == .deadlock)
        sleep(milliseconds: 1)
        #expect(object.isAlive, "the last user has waited for the loan")
    }

    func borrowOutgoing() {
        model.perform("borrow what goes out") { state in
            Model.Request(
                reads: [.boot, .flb(.outgoing)], answer: state.files(.outgoing) == 0 ? .noData : nil, others: [.noData])
        } _: {
            errno {
                try boot.withOutgoing(flb) { object throws(LiveUpdateError) in
                    guard let object else { throw LiveUpdateError(.noData, "there is none") }
                    use(object)
                }
            }
        }
    }

    func borrowIncoming() {
        model.perform("borrow what came") { state in
            Model.Request(
                reads: [.boot, .flb(.incoming)], answer: state.files(.incoming) == 0 ? .noData : nil, others: [.noData])
        } _: {
            errno { try boot.withIncoming(flb) { use($0) } }
        }
    }

    // MARK: Registration

    func register(_ name: String) {
        func expect(_ answer: Errno?, _ body: () throws -> Void) {
            model.perform("registration") { _ in
                Model.Request(answer: answer)
            } _: {
                errno(body)
            }
        }
        expect(.fileExists) { try boot.register(handler) }
        expect(.fileExists) { try boot.register(flb, on: handler) }
        expect(.resourceBusy) { try boot.unregister(handler) }
        expect(.invalidArgument) { try boot.unregister(TestHandler("unknown-v1")) }
        let own = TestHandler(name)
        var isRegistered = false
        model.perform("register \(name)") { _ in
            Model.Request()
        } _: {
            let answer = errno { try boot.register(own) }
            isRegistered = answer == nil
            return answer
        }
        // Another thread may have published meanwhile, and will thaw soon.
        while isRegistered, errno({ try boot.unregister(own) }) == .operationNotSupportedByDevice {
            sleep(milliseconds: 1)
        }
    }

    // MARK: The whole state

    /// Checks that each FLB counts the existing files at every moment.
    func look() {
        model.perform("status") { _ in
            Model.Request()
        } _: {
            errno {
                let status = try boot.status()
                expectCounts(status)
                #expect(try boot.obstacles().isEmpty, "no handler sees any ahead")
            }
        }
    }

    func expectCounts(_ status: Status) {
        for direction in [Direction.incoming, .outgoing] {
            let files = status.sessions.filter { $0.direction == direction }.flatMap(\.files).count
            let counts = status.flbs.filter { $0.direction == direction }.map(\.count)
            #expect(counts == [UInt64(files)] || counts.isEmpty && files == 0, "\(direction)")
        }
    }

    func refuse(_ stubborn: Bool) {
        model.perform("handlers refuse: \(stubborn)") { _ in
            Model.Request(reads: [], changes: [.refusals])
        } _: {
            isStubborn.with { $0 = stubborn }
            return nil
        } _: { state, _ in
            // If two threads set it at once, the last value counts, in whichever order the threads note it.
            state.isStubborn = isStubborn.with { $0 }
        }
    }

    /// Publishes, checks the state that the next boot finds, and thaws as if the next boot had not started.
    func publish(discarding discard: Bool, leavingOut: Bool) {
        model.perform("publish") { state in
            var request = Model.Request(
                reads: [.refusals, .flb(.incoming), .flb(.outgoing)], changes: [.boot],
                others: [.resourceBusy, .ioError])
            let leaving = state.sessions(.outgoing).flatMap(\.tokens.keys)
            if !discard, state.sessions(.incoming).contains(where: { [.waiting, .open].contains($0.progress) }) {
                request.answer = .resourceBusy
            } else if !leavingOut, state.isStubborn, leaving.contains(where: { Self.kind($0) == Self.unfreezable }) {
                request.answer = .ioError
            }
            return request
        } _: {
            let answer = errno { try boot.publish(discardingUnfinished: discard, leavingOut: leavingOut) }
            guard answer == nil else { return answer }
            #expect(errno { try boot.createSession("too late") } == .operationNotSupportedByDevice)
            expectWhatTravels()
            #expect(errno { try boot.thaw() } == nil)
            return nil
        }
    }

    private func expectWhatTravels() {
        do {
            let (same, next) = (try copied(.sameBoot).status(), try copied(.nextBoot).status())
            let leaving = same.sessions.filter { $0.direction == .outgoing }
            #expect(next.sessions.map(\.name) == leaving.map(\.name))
            #expect(next.sessions.map { $0.files.map(\.token) } == leaving.map { $0.files.map(\.token) })
            #expect(next.sessions.map { $0.files.map(\.slot) } == leaving.map { $0.files.map(\.slot) })
            #expect(next.flbs.map(\.count) == same.flbs.filter { $0.direction == .outgoing }.map(\.count))
            #expect(next.updateNumber == same.updateNumber + 1)
            #expect(
                next.sessions.flatMap(\.files).allSatisfy {
                    $0.problem == nil || Self.kind($0.token) == Self.unfreezable
                })
            expectCounts(next)
        } catch {
            Issue.record("what was published cannot be read: \(error)")
        }
    }
}
