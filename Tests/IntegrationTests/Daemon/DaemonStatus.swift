import Foundation

/// What STATUS answers with, as far as tests look at it.
struct DaemonStatus: Decodable {
    struct File: Decodable {
        let token: String
        let compatible: String
        let size: UInt64?
        let retrieved: Int
        let problem: String?
    }

    struct Session: Decodable {
        let name: String
        let owner: UInt32
        let direction: String
        let isOpen: Bool
        let isFinished: Bool
        let isDetached: Bool
        let isAttached: Bool
        let files: [File]
    }

    struct Process: Decodable {
        let name: String
        let process: pid_t
        let capabilities: [String]
        let hasNoNewPrivileges: Bool
        let seccomp: String
    }

    struct FLB: Decodable {
        let compatible: String
        let direction: String
        let count: UInt64
    }

    let orchestrator: pid_t
    let refusal: String?
    let keeperAnswers: Bool
    let keeper: pid_t
    let processes: [Process]
    let updates: UInt64
    let arenaSize: UInt64
    let arenaUsed: UInt64
    let sessions: [Session]
    let flbs: [FLB]

    init(_ json: [UInt8]) throws { self = try JSONDecoder().decode(DaemonStatus.self, from: Data(json)) }
}
