// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage
import Testing

/// The expected state of an orchestrator after the acknowledged requests, and the right answers.
///
/// A request names the parts that it reads and the parts that it may change. If no other request changes these parts
/// while it runs, there is one right answer. Otherwise there are several, and the model continues from the actual
/// answer.
final class Model: Sendable {
    /// The parts that requests read and change.
    enum Part: Hashable {
        /// Whether the boot takes requests.
        case boot
        case name(SessionName, Direction)
        case session(Int)
        case file(Int)
        /// The state of the FLB in one direction.
        case flb(Direction)
        /// The files that handlers must refuse.
        case refusals
    }

    struct Session {
        enum Progress { case waiting, open, finished, closed }

        let name: SessionName
        let direction: Direction
        var progress: Progress
        /// The open session.
        var handle: LiveUpdateCore.Session?
        /// The number of the file that has each token.
        var tokens: [UInt64: Int] = [:]
    }

    struct State {
        var sessions: [Session] = []
        /// The present session of each name.
        var names: [Direction: [SessionName: Int]] = [.incoming: [:], .outgoing: [:]]
        var isStubborn = false

        fileprivate var uses: [Part: Use] = [:]

        func sessions(_ direction: Direction) -> [Session] { sessions.filter { $0.direction == direction } }

        func files(_ direction: Direction) -> Int { sessions(direction).reduce(0) { $0 + $1.tokens.count } }

        /// The sessions that hold a file. There is one holder after all requests about the file are noted.
        func holders(_ file: Int) -> [Int] { sessions.indices.filter { sessions[$0].tokens.values.contains(file) } }

        /// Removes the files of a session.
        mutating func letGo(_ number: Int, _ progress: Session.Progress) {
            sessions[number].tokens = [:]
            sessions[number].progress = progress
            let (name, direction) = (sessions[number].name, sessions[number].direction)
            if progress == .closed, names[direction]?[name] == number { names[direction]?[name] = nil }
        }
    }

    fileprivate struct Use {
        var writers = 0
        /// Increases when a writer begins.
        var begun = 0
    }

    /// One request, planned on the present state.
    struct Request {
        var reads: Set<Part> = [.boot]
        var changes: Set<Part> = []
        /// The right answer if no other request changes the parts of this one; nil for success.
        var answer: Errno?
        /// Other right answers if another request changes them, besides success and the end of the boot.
        var others: Set<Errno> = []
    }

    private let state: Guarded<State>

    init(_ state: State) { self.state = Guarded(state) }

    func look<Value>(_ body: (State) -> Value) -> Value { state.with { body($0) } }

    /// Makes a request, checks the answer, and notes the result.
    func perform(
        _ what: @autoclosure () -> String, _ plan: (State) -> Request?, _ body: () -> Errno?,
        _ note: (inout State, Errno?) -> Void = { _, _ in }
    ) {
        guard let (request, begun) = begin(plan) else { return }
        let answer = body()
        let wasAlone = end(request, begun) { state in note(&state, answer) }
        if wasAlone {
            #expect(answer == request.answer, "\(what()): \(String(describing: answer))")
        } else {
            let isPossible = answer.map { request.others.union([.operationNotSupportedByDevice]).contains($0) } ?? true
            #expect(isPossible || answer == request.answer, "\(what()): \(String(describing: answer))")
        }
    }

    /// - Returns: nil without a planned request. Otherwise the request, and the number of earlier changes of each part;
    ///   nil instead of the numbers while another request changes a part.
    private func begin(_ plan: (State) -> Request?) -> (Request, begun: [Part: Int]?)? {
        state.with { state in
            guard let request = plan(state) else { return nil }
            let parts = request.reads.union(request.changes)
            let isAlone = parts.allSatisfy { state.uses[$0, default: Use()].writers == 0 }
            for part in request.changes {
                state.uses[part, default: Use()].writers += 1
                state.uses[part, default: Use()].begun += 1
            }
            let begun = parts.map { ($0, state.uses[$0, default: Use()].begun) }
            return (request, isAlone ? Dictionary(uniqueKeysWithValues: begun) : nil)
        }
    }

    private func end(_ request: Request, _ begun: [Part: Int]?, _ note: (inout State) -> Void) -> Bool {
        state.with { state in
            for part in request.changes { state.uses[part, default: Use()].writers -= 1 }
            note(&state)
            return begun?.allSatisfy { state.uses[$0.key, default: Use()].begun == $0.value } ?? false
        }
    }
}
