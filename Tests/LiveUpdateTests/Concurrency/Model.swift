import LiveUpdate
import Platform
import SystemPackage
import Testing

/// What an orchestrator should have, as far as requests were acknowledged; and which answers are right.
///
/// A request says what it reads and what it may change. When nothing that it reads was changed while it ran, there is one
/// right answer. Otherwise there are several, and whichever it was, the model goes on from there.
final class Model: Sendable {
    /// What requests read and change.
    enum Part: Hashable {
        /// Whether the boot takes requests.
        case boot
        case name(SessionName, Direction)
        case session(Int)
        case file(Int)
        /// The FLB's state of that direction.
        case flb(Direction)
        /// What handlers were told to refuse.
        case refusals
    }

    struct Session {
        enum Progress { case waiting, open, finished, closed }

        let name: SessionName
        let direction: Direction
        var progress: Progress
        /// The one that is open.
        var handle: LiveUpdate.Session?
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

        /// The sessions that hold a file. One, once all who made it so were noted.
        func holders(_ file: Int) -> [Int] { sessions.indices.filter { sessions[$0].tokens.values.contains(file) } }

        /// The files of a session are let go.
        mutating func letGo(_ number: Int, _ progress: Session.Progress) {
            sessions[number].tokens = [:]
            sessions[number].progress = progress
            let (name, direction) = (sessions[number].name, sessions[number].direction)
            if progress == .closed, names[direction]?[name] == number { names[direction]?[name] = nil }
        }
    }

    fileprivate struct Use {
        var writers = 0
        /// Rises when one begins.
        var begun = 0
    }

    /// One request, as it is planned on the present state.
    struct Request {
        var reads: Set<Part> = [.boot]
        var changes: Set<Part> = []
        /// The right answer, when it is alone with what it reads; nil: it worked.
        var answer: Errno?
        /// Right answers otherwise, besides that it worked and that the boot has ended.
        var others: Set<Errno> = []
    }

    private let state: Guarded<State>

    init(_ state: State) { self.state = Guarded(state) }

    func look<Value>(_ body: (State) -> Value) -> Value { state.with { body($0) } }

    /// Makes a request, judges the answer, and notes what came of it.
    func perform(
        _ what: @autoclosure () -> String, _ plan: (State) -> Request?, _ body: () -> Errno?,
        _ note: (inout State, Errno?) -> Void = { _, _ in }
    ) {
        guard let (request, begun) = begin(plan) else { return }
        let answer = body()
        let wasAlone = end(request, begun) { state in note(&state, answer) }
        if wasAlone {
            #expect(answer == request.answer, "\(what())")
        } else {
            let isPossible = answer.map { request.others.union([.operationNotSupportedByDevice]).contains($0) } ?? true
            #expect(isPossible || answer == request.answer, "\(what()): \(String(describing: answer))")
        }
    }

    /// - Returns: nil when there is nothing to plan; else how often each part had been changed, when nobody changes it now.
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
