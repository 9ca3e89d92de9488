// SPDX-License-Identifier: Apache-2.0
import SystemPackage
import Testing

@testable import LiveUpdateDaemon

/// The order in which connections are served.
@Suite struct RequestSchedulerTests {
    private typealias Work = RequestScheduler.Work

    private func client(_ user: UInt32, _ process: CInt) -> ClientID { ClientID(user: user, process: process) }

    private func number(_ number: CInt) -> FileDescriptor { FileDescriptor(rawValue: number) }

    /// A client process. Each of its connections always has a waiting request.
    struct Load: Sendable {
        var user: UInt32
        var process: CInt
        var connections: Int
        /// How long a request takes, in microseconds.
        var cost: UInt64 = 100
        /// The share of all time that the process gets.
        var share: Double
    }

    /// A mixture of client processes.
    struct Mixture: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var loads: [Load]
    }

    @Test(
        "Time is shared by user, then by process, then by connection",
        arguments: [
            Mixture(
                testDescription: "20 processes of a user, and one of another",
                loads: (0..<20).map { Load(user: 1, process: $0, connections: 1, share: 0.025) }
                    + [Load(user: 2, process: 99, connections: 1, share: 0.5)]),
            Mixture(
                testDescription: "many connections of a process, and one of another process",
                loads: [
                    Load(user: 1, process: 1, connections: 500, share: 0.5),
                    Load(user: 1, process: 2, connections: 1, share: 0.5),
                ]),
            Mixture(
                testDescription: "long requests, and short ones",
                loads: [
                    Load(user: 1, process: 1, connections: 3, cost: 5000, share: 0.5),
                    Load(user: 2, process: 2, connections: 1, cost: 20, share: 0.5),
                ]),
            Mixture(
                testDescription: "three users, one of them with two processes",
                loads: [
                    Load(user: 1, process: 1, connections: 9, cost: 700, share: 1 / 3),
                    Load(user: 2, process: 2, connections: 2, share: 1 / 6),
                    Load(user: 2, process: 3, connections: 70, cost: 900, share: 1 / 6),
                    Load(user: 3, process: 1, connections: 1, share: 1 / 3),
                ]),
        ]) func shares(_ mixture: Mixture)
    {
        var scheduler = RequestScheduler()
        var owners: [FileDescriptor: Int] = [:]
        var used = [UInt64](repeating: 0, count: mixture.loads.count)
        for (index, load) in mixture.loads.enumerated() {
            for _ in 0..<load.connections { owners[number(CInt(owners.count + 10))] = index }
        }
        func noteAll() {
            for (descriptor, index) in owners {
                let load = mixture.loads[index]
                scheduler.noteRequest(on: descriptor, of: client(load.user, load.process))
            }
        }
        noteAll()
        let total: UInt64 = 2_000_000
        while used.reduce(0, +) < total {
            guard case .serve(let descriptor) = scheduler.next(), let index = owners[descriptor] else {
                Issue.record("nothing is served")
                return
            }
            let load = mixture.loads[index]
            used[index] += load.cost
            scheduler.charge(load.cost * 1000, to: client(load.user, load.process))
            scheduler.noteRequest(on: descriptor, of: client(load.user, load.process))
        }
        for (load, used) in zip(mixture.loads, used) {
            let share = Double(used) / Double(total)
            #expect(abs(share - load.share) < 0.02, "process \(load.process) of user \(load.user): \(share)")
        }
    }

    @Test("The connections of a process take turns") func connections() {
        var scheduler = RequestScheduler()
        let one = client(1, 1)
        var served: [Work] = []
        for round in 0..<3 {
            for connection: CInt in 10...12 { scheduler.noteRequest(on: number(connection), of: one) }
            // Noting a request again changes nothing.
            scheduler.noteRequest(on: number(10), of: one)
            for _ in 0..<(round == 0 ? 1 : 3) { if let work = scheduler.next() { served.append(work) } }
        }
        #expect(served == [10, 11, 12, 10, 10, 11, 12].map { .serve(number($0)) })
        while scheduler.next() != nil {}
        #expect(scheduler.isIdle)
    }

    @Test("A user that begins is served next, however many requests of other users wait") func latecomer() {
        var scheduler = RequestScheduler()
        for connection: CInt in 10..<1000 {
            scheduler.noteRequest(on: number(connection), of: client(1, connection))
        }
        for _ in 0..<50 {
            _ = scheduler.next()
            scheduler.charge(1_000_000, to: client(1, 10))
        }
        scheduler.noteRequest(on: number(5), of: client(2, 1))
        #expect(scheduler.next() == .serve(number(5)))
    }

    @Test("Waiting earns no credit") func noCredit() {
        var share = FairShare<Int>()
        share.set(1, ready: true)
        share.set(2, ready: true)
        share.charge(2, 1000)
        share.set(2, ready: false)
        for _ in 0..<50 {
            _ = share.first()
            share.charge(1, 1_000_000)
        }
        share.set(2, ready: true)
        var turns = [1: 0, 2: 0]
        for _ in 0..<20 {
            guard let party = share.first() else { break }
            turns[party, default: 0] += 1
            share.charge(party, 1_000_000)
        }
        #expect(turns == [1: 10, 2: 10])
    }

    @Test("A long piece of work delays the next one of its user by a bounded time") func bounded() {
        var share = FairShare<Int>()
        share.set(1, ready: true)
        share.charge(1, 10_000_000_000)
        share.set(2, ready: true)
        var waited: UInt64 = 0
        while share.first() == 2 {
            share.charge(2, 1_000_000)
            waited += 1_000_000
        }
        #expect(waited <= FairShare<Int>.mostAhead)
    }

    @Test("Ends of a user come before its requests, also of other processes") func ends() {
        var scheduler = RequestScheduler()
        scheduler.noteRequest(on: number(10), of: client(1, 1))
        scheduler.noteRequest(on: number(11), of: client(1, 2))
        scheduler.noteRequest(on: number(12), of: client(2, 3))
        scheduler.noteEnd(of: number(20), of: client(1, 3))
        // A connection that has ended is only ended, and only once, although it still has a request.
        scheduler.noteEnd(of: number(11), of: client(1, 2))
        scheduler.noteEnd(of: number(11), of: client(1, 2))
        scheduler.noteRequest(on: number(11), of: client(1, 2))
        var served: [Work] = []
        while let work = scheduler.next() {
            served.append(work)
            scheduler.charge(10_000, to: work == .serve(number(12)) ? client(2, 3) : client(1, 1))
        }
        let ofFirst = served.filter { $0 != .serve(number(12)) }
        #expect(ofFirst == [.end(number(20)), .end(number(11)), .serve(number(10))])
        #expect(served.firstIndex(of: .serve(number(12))) == 1, "the other user does not wait for all ends")
    }

    @Test("A closed connection is forgotten, and its number can be used again") func forgotten() {
        var scheduler = RequestScheduler()
        scheduler.noteRequest(on: number(10), of: client(1, 1))
        scheduler.noteEnd(of: number(11), of: client(1, 1))
        scheduler.forget(number(10))
        scheduler.forget(number(11))
        #expect(scheduler.isIdle)
        #expect(scheduler.next() == nil)
        scheduler.noteRequest(on: number(10), of: client(2, 1))
        #expect(scheduler.next() == .serve(number(10)))
        #expect(scheduler.next() == nil)
    }

    @Test("Accepting shares time with the users, and holding counts as the client's own work") func accepting() {
        var scheduler = RequestScheduler()
        var accepted = 0
        var served = 0
        var descriptor: CInt = 1000
        scheduler.noteListener(mayAccept: true)
        scheduler.noteRequest(on: number(10), of: client(2, 1))
        for _ in 0..<1000 {
            switch scheduler.next() {
            case .accept:
                accepted += 1
                scheduler.chargeAcceptor(100_000)
                descriptor += 1
                scheduler.noteAccepted(number(descriptor), of: client(1, 1))
                scheduler.noteListener(mayAccept: true)
            case .admit: scheduler.charge(100_000, to: client(1, 1))
            case .serve:
                served += 1
                scheduler.charge(100_000, to: client(2, 1))
                scheduler.noteRequest(on: number(10), of: client(2, 1))
            default: Issue.record("no end was noted")
            }
        }
        #expect((650...680).contains(accepted))
        #expect((160...180).contains(served))
    }
}
