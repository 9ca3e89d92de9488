// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform

extension Event {
    /// The event in words, for people.
    var words: String {
        switch self {
        case .boot(let number, let next): "boot after \(number) updates; the next number is \(next)"
        case .phase(.running): "running"
        case .phase(.freezing): "freezing"
        case .phase(.booting): "booting, and not yet confirmed"
        case .sessionAdded(let session):
            "session \(session.id.value) \"\(session.name)\" added: \(session.direction), \(session.progress)"
                + (session.holder == SessionHolder() ? "" : ", \(session.holder.words)")
        case .sessionProgress(let id, let progress): "session \(id.value) is \(progress)"
        case .sessionRemoved(let id): "session \(id.value) removed"
        case .fileAdded(let file): "file \(file.id.value) added to session \(file.session.value): \(file.words)"
        case .fileStored(let id, let data, let ranges):
            "file \(id.value) stored again: data \(data), \(ranges.words)"
        case .fileAttested(let id, let offset, let ranges):
            "file \(id.value) attested: sums at \(offset), \(ranges.words)"
        case .fileRetrieved(let id, let status, let slot):
            "file \(id.value) \(status.words), kept in slot \(slot.number)"
        case .flbAdded(let flb): "FLB \(flb.id.value) \"\(flb.compatible)\" added: \(flb.words)"
        case .flbRetrieved(let id, let status): "FLB \(id.value) \(status.words)"
        case .flbRemoved(let id): "FLB \(id.value) removed"
        case .fileRemoved(let id): "file \(id.value) removed"
        case .sessionHeld(let id, let holder): "session \(id.value) \(holder.words)"
        case .sessionMade(let id, let maker):
            "session \(id.value) made by \(maker.client.words), at \(maker.time) ns of the wall clock"
        case .sessionOpened(let id, let client): "session \(id.value) opened by \(client.words)"
        case .answered(let answer):
            "request \(answer.request.tag) on connection \(answer.request.connection.number) answered: \(answer.result)"
        case .connectionClosed(let connection): "connection \(connection.number) closed"
        }
    }
}

extension RetrieveStatus {
    fileprivate var words: String {
        switch self {
        case .notTried: "not retrieved"
        case .done: "retrieved"
        case .failed(let errno): "not to be retrieved: errno \(errno)"
        }
    }
}

extension SessionHolder {
    fileprivate var words: String {
        "of user \(user), held in slot \(slot.number)" + (isDetached ? ", detached" : "")
    }
}

extension SessionClient? {
    fileprivate var words: String {
        map { "process \($0.process) (\($0.commandText))" } ?? "an unknown process"
    }
}

extension FileState {
    fileprivate var words: String {
        let counted = flbs.isEmpty ? "" : ", counted on FLB \(flbs.map { "\($0.value)" }.joined(separator: ", "))"
        let tried = retrieved == .notTried ? "" : ", \(retrieved.words)"
        let problem = leftOut.map { ", left out of the update: \($0)" } ?? ""
        return "token \(token), \"\(compatible)\", slot \(slot.number), \(identity), data \(data)\(counted)\(tried)"
            + "\(problem)\(holdsFile ? "" : ", holds nothing"), \(ranges.words)"
    }
}

extension FLBState {
    fileprivate var words: String {
        "\(kind), data \(data), counts \(count) files, \(retrieved.words), \(ranges.words)"
    }
}

extension [StoredRange] {
    fileprivate var words: String {
        isEmpty
            ? "nothing stored"
            : "stored " + map { "\($0.range.offset)+\($0.range.length)" }.joined(separator: " ")
    }
}
