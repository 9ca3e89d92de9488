// SPDX-License-Identifier: Apache-2.0
import FoundationEssentials
import LiveUpdateCore

/// One scenario of the conformance vectors: see Tests/Vectors/README.md for the format.
package struct Scenario: Decodable, Sendable {
    struct Handler: Decodable, Sendable {
        var name: String
        var flbs: [String]
    }

    /// The action of a step.
    enum Verb: String, Decodable, Sendable {
        case create, preserve, retrieve, finish, close, reboot
        case retrieveSession = "retrieve_session"
        case getIncoming = "flb_get_incoming"
        case getOutgoing = "flb_get_outgoing"
        case registerFLB = "register_flb"
        case unregisterFLB = "unregister_flb"
        case registerHandler = "register_handler"
        case unregisterHandler = "unregister_handler"
    }

    struct Step: Decodable, Sendable {
        var verb: Verb
        var session: String?
        var file: String?
        var token: UInt64?
        var flb: String?
        var handler: String?
        var inject: [String: Int32]?

        enum CodingKeys: String, CodingKey {
            case verb = "do"
            case session, file, token, flb, handler, inject
        }

        /// The name of the session; empty for a step without a session. No session has an empty name.
        var sessionName: SessionName { SessionName(session ?? "") }
    }

    /// The name of the scenario, unique among the vectors.
    package var name: String
    var flbs: [String]
    var handlers: [Handler]
    var files: [String: String?]
    var handlersGetFLB: Bool
    var steps: [Step]
    var expect: [Outcome]

    /// The number of steps.
    package var stepCount: Int { steps.count }

    enum CodingKeys: String, CodingKey {
        case name, flbs, handlers, files, steps, expect
        case handlersGetFLB = "handlers_get_flb"
    }

    /// Reads a scenario from one line.
    ///
    /// - Throws: ``Malformed``, with the reason.
    package init(line: String) throws(Malformed) {
        do {
            self = try JSONDecoder().decode(Scenario.self, from: Data(line.utf8))
        } catch {
            throw Malformed(reason: Self.explain(error))
        }
        try check()
    }

    private static func explain(_ error: any Error) -> String {
        guard let error = error as? DecodingError else { return "\(error)" }
        switch error {
        case .keyNotFound(let key, let context): return "no \"\(key.stringValue)\"\(path(context))"
        case .typeMismatch(_, let context), .valueNotFound(_, let context), .dataCorrupted(let context):
            return context.debugDescription + path(context)
        @unknown default: return "\(error)"
        }
    }

    private static func path(_ context: DecodingError.Context) -> String {
        let path = context.codingPath.map(\.stringValue).joined(separator: ".")
        return path.isEmpty ? "" : " at \(path)"
    }

    /// Checks the rules that the decoder does not know.
    private func check() throws(Malformed) {
        guard steps.count == expect.count else {
            throw Malformed(reason: "\(steps.count) steps with \(expect.count) expectations")
        }
        let handlerNames = Set(handlers.map(\.name))
        guard handlerNames.count == handlers.count, Set(flbs).count == flbs.count else {
            throw Malformed(reason: "a handler or an FLB that is listed twice")
        }
        for name in handlerNames.union(flbs) where !(1...47).contains(compatibleString(name).utf8.count) {
            throw Malformed(reason: "a name of \(name.utf8.count) bytes, where a compatible string has 1 to 47")
        }
        for flb in handlers.flatMap(\.flbs) where !flbs.contains(flb) {
            throw Malformed(reason: "an FLB \"\(flb)\" that is not listed")
        }
        for handler in files.values.compactMap({ $0 }) where !handlerNames.contains(handler) {
            throw Malformed(reason: "a handler \"\(handler)\" that is not listed")
        }
        for (index, step) in steps.enumerated() { try check(step, index, handlerNames) }
    }

    private func check(_ step: Step, _ index: Int, _ handlerNames: Set<String>) throws(Malformed) {
        func need(_ present: Bool, _ what: String) throws(Malformed) {
            if !present { throw Malformed(reason: "step \(index + 1), \(step.verb.rawValue): \(what)") }
        }
        switch step.verb {
        case .create, .retrieveSession, .finish, .close: try need(step.session != nil, "no \"session\"")
        case .preserve:
            try need(step.session != nil && step.file != nil && step.token != nil, "session, file and token are needed")
        case .retrieve: try need(step.session != nil && step.token != nil, "session and token are needed")
        case .reboot: break
        case .getIncoming, .getOutgoing: try need(step.flb != nil, "no \"flb\"")
        case .registerFLB, .unregisterFLB:
            try need(step.flb != nil && step.handler != nil, "handler and flb are needed")
        case .registerHandler, .unregisterHandler: try need(step.handler != nil, "no \"handler\"")
        }
        if let flb = step.flb { try need(flbs.contains(flb), "an FLB \"\(flb)\" that is not listed") }
        if let handler = step.handler {
            try need(handlerNames.contains(handler), "a handler \"\(handler)\" that is not listed")
        }
    }
}

/// The outcome of a step: the actual or the expected one.
package struct Outcome: Codable, Equatable, Sendable {
    /// The result of the call: 0 or a negative errno.
    package var ret: Int32
    /// The callbacks, in the order in which they returned.
    package var calls: [String]
    /// The data handle of the object, for a getter that returned 0. It is 0 without an object.
    package var obj: UInt64?
    /// The name of the file, for a retrieve that returned 0.
    package var file: String?

    /// The outcome as one line of JSON.
    package var json: String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        guard let data = try? encoder.encode(self) else { return "\(self)" }
        return String(decoding: data, as: UTF8.self)
    }
}

/// A scenario that cannot be run.
package struct Malformed: Error, Sendable {
    /// The reason.
    package let reason: String
}
