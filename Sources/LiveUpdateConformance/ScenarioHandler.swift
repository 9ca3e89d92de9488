// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage

/// A handler of a scenario. It takes the files that the scenario gives it, and records its callbacks.
final class ScenarioHandler: FileHandler {
    let name: String
    let compatible: String
    let owner: Owner?
    private let accepts: Set<FileIdentity>
    private let recorder: Recorder
    /// The FLBs that preserve and retrieve ask for, if the scenario says so.
    private let fetched: Guarded<[ScenarioFLB]>

    init(name: String, accepts: Set<FileIdentity>, fetching: [ScenarioFLB], _ recorder: Recorder) {
        self.name = name
        compatible = compatibleString(name)
        owner = Owner(name: name)
        self.accepts = accepts
        self.recorder = recorder
        fetched = Guarded(fetching)
    }

    func link(_ flb: ScenarioFLB) { fetched.with { $0.append(flb) } }

    func unlink(_ flb: ScenarioFLB) { fetched.with { $0.removeAll { $0 === flb } } }

    private func title(_ callback: String, _ file: FileContext) -> String {
        "\(name).\(callback) \(recorder.names[file.identity] ?? "?")"
    }

    func canPreserve(_ descriptor: FileDescriptor) -> Acceptance {
        guard let file = try? FileStatus(of: descriptor), accepts.contains(file.identity) else {
            return .refused(because: "not its file")
        }
        return .accepted
    }

    func preserve(_ file: FileContext) throws(LiveUpdateError) -> UInt64 {
        let title = title("preserve", file)
        try recorder.check("\(name).preserve", title)
        for flb in fetched.with({ $0 }) {
            try recording(title) { () throws(LiveUpdateError) in
                try file.flbs.withOutgoing(flb) { (_) throws(LiveUpdateError) in }
            }
        }
        let data = recorder.takeData()
        recorder.record("\(title) -> data=\(data)")
        return data
    }

    private func recording(_ title: String, _ body: () throws(LiveUpdateError) -> Void) throws(LiveUpdateError) {
        do throws(LiveUpdateError) {
            try body()
        } catch {
            recorder.record(title, failed: error.errno)
            throw error
        }
    }

    func unpreserve(_ file: FileContext) { recorder.record("\(title("unpreserve", file)) data=\(file.data)") }

    func freeze(_ file: FileContext) throws(LiveUpdateError) -> UInt64 {
        let title = "\(title("freeze", file)) data=\(file.data)"
        try recorder.check("\(name).freeze", title)
        recorder.record(title)
        return file.data
    }

    func unfreeze(_ file: FileContext) { recorder.record("\(title("unfreeze", file)) data=\(file.data)") }

    func retrieve(_ file: FileContext) throws(LiveUpdateError) -> RetrievedFile {
        let title = "\(title("retrieve", file)) data=\(file.data)"
        try recorder.check("\(name).retrieve", title)
        for flb in fetched.with({ $0 }) {
            try recording(title) { () throws(LiveUpdateError) in
                try file.flbs.withIncoming(flb) { (_) throws(LiveUpdateError) in }
            }
        }
        recorder.record(title)
        return .kept
    }

    func canFinish(_ file: FileContext) -> Bool {
        let title = title("can_finish", file)
        if let errno = recorder.fault("\(name).can_finish") {
            recorder.record(title, failed: errno)
            return false
        }
        recorder.record(title)
        return true
    }

    func finish(_ file: FileContext) {
        recorder.record("\(title("finish", file)) retrieved=\(file.retrieveStatus == .done ? 1 : 0)")
    }
}

/// An FLB of a scenario: its live object is its data handle.
final class ScenarioFLB: FileLifecycleBound {
    let name: String
    let compatible: String
    let owner: Owner?
    private let recorder: Recorder

    init(name: String, _ recorder: Recorder) {
        self.name = name
        compatible = compatibleString(name)
        owner = Owner(name: name)
        self.recorder = recorder
    }

    func preserve(_ context: FLBContext) throws(LiveUpdateError) -> (data: UInt64, object: UInt64) {
        try recorder.check("\(name).preserve", "\(name).preserve")
        let data = recorder.takeData()
        recorder.record("\(name).preserve -> data=\(data)")
        return (data, data)
    }

    func unpreserve(_ object: UInt64, _ context: FLBContext) {
        recorder.record("\(name).unpreserve data=\(context.data)")
    }

    func retrieve(_ context: FLBContext) throws(LiveUpdateError) -> UInt64 {
        try recorder.check("\(name).retrieve", "\(name).retrieve data=\(context.data)")
        recorder.record("\(name).retrieve data=\(context.data)")
        return context.data
    }

    func finish(_ object: UInt64, _ context: FLBContext) { recorder.record("\(name).finish") }

    func resume(_ context: FLBContext) throws(LiveUpdateError) -> UInt64 { context.data }
}
