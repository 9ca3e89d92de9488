// SPDX-License-Identifier: Apache-2.0

/// The parts of the output of `luoctl inspect --json` that tests read. docs/inspect.md describes it.
struct InspectOutput: Decodable {
    struct Failure: Decodable {
        let gate: String
        let reason: String
    }

    struct Broken: Decodable {
        let invariant: String
        let place: String
        let reason: String
        let consequence: String
    }

    struct Invariants: Decodable {
        let checked: [String]
        let broken: [Broken]
    }

    struct File: Decodable {
        let locked: Bool?
        let settled: Bool
        let size: UInt64
    }

    struct Record: Decodable {
        let sequence: UInt64
        let event: String?
    }

    struct Journal: Decodable {
        let tail: UInt64
        let records: Int
        let log: [Record]?
    }

    struct Run: Decodable {
        let offset: UInt64
        let size: UInt64
        let frame: UInt64?
    }

    struct Pages: Decodable {
        let size: UInt64
        let present: UInt64
        let pageSize: UInt64
        let runs: [Run]?
    }

    struct PreservedFile: Decodable {
        let token: UInt64
        let compatible: String
        let data: UInt64
        let flbs: [String]
        let pages: Pages?
        let failure: Failure?
    }

    struct Session: Decodable {
        let name: String
        let direction: String
        let progress: String
        let files: [PreservedFile]
    }

    struct FLB: Decodable {
        let compatible: String
        let count: UInt64
    }

    struct State: Decodable {
        let updates: UInt64
        let phase: String?
        let sessions: [Session]
        let flbs: [FLB]
    }

    struct Flattened: Decodable {
        let name: String
        let dts: String?
    }

    struct Tree: Decodable {
        let part: String
        let flattened: [Flattened]
        let state: State?
    }

    let version: Int
    let sound: Bool
    let failures: [Failure]
    let invariants: Invariants
    let file: File
    let journal: Journal?
    let state: State?
    let trees: [Tree]
}
