// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdate
import Testing

@testable import ListenerHandlers

// Faults are injected into debug builds only.
#if DEBUG
    /// Fails the first, the second, the third … system call of a request, until a request has no fault. After each
    /// failure the request has worked, or has returned the injected error, and nothing is left behind.
    ///
    /// Each sweep runs in its own process, because sockets are counted.
    @Suite struct FaultTests {
        enum Request: String, Codable, CaseIterable, Sendable {
            case preserve, publish, retrieve, reopen
        }

        @Test(arguments: Kind.allCases, Request.allCases) func everySystemCall(_ kind: Kind, _ request: Request) async {
            await #expect(processExitsWith: .success) { [kind, request] in
                for sticky in [false, true] {
                    var number = 1
                    while try Faults(number: number, sticky: sticky).reach(request, kind) { number += 1 }
                    #expect(number > 1, "no fault was injected")
                }
            }
        }

        @Test(arguments: [
            [UInt8](repeating: 0, count: 31), [UInt8](repeating: 0xFF, count: 32),
            [0, 0, 0, 0, 4, 0, 0, 0] + [UInt8](repeating: 0, count: 24),
        ])
        func aRecordThatCannotBeIsRefused(_ bytes: [UInt8]) {
            #expect(throws: ArenaError.self) {
                var reader = ByteReader(bytes, "listener")
                _ = try ListenerRecord(&reader)
            }
        }

        @Test(arguments: [[], [1], [1, 0], [2, 0, 1], [10, 0, 1, 2], [UInt8](repeating: 1, count: 16)] as [[UInt8]])
        func anAddressThatCannotBeIsRefused(_ bytes: [UInt8]) { #expect(SocketAddress(recorded: bytes) == nil) }
    }

    private struct Faults {
        let number: Int
        let sticky: Bool

        /// - Returns: whether the fault was reached.
        func reach(_ request: FaultTests.Request, _ kind: Kind) throws -> Bool {
            let before = sockets()
            let reached = try attempt(request, kind)
            #expect(sockets() == before, "\(request), call \(number)")
            return reached
        }

        private func attempt(_ request: FaultTests.Request, _ kind: Kind) throws -> Bool {
            let machine = try Machine()
            let listener = try machine.listener(kind)
            let luo = try machine.boot()
            let session = try luo.createSession("s")
            switch request {
            case .preserve:
                defer { try? session.close() }
                return try again { try session.preserve(listener.descriptor, token: 1) }
            case .publish:
                try session.preserve(listener.descriptor, token: 1)
                let reached = try again { try luo.publish() }
                try luo.thaw()
                #expect(try listener.backlog() == Machine.backlog)
                try session.close()
                return reached
            case .retrieve, .reopen:
                try session.preserve(listener.descriptor, token: 1)
                try luo.publish()
                if request == .reopen {
                    let address = try listener.address
                    try listener.lose()
                    machine.loseDescriptors()
                    try waitUntilNothingListens(at: address)
                }
                return try retrieve(machine)
            }
        }

        /// Repeats a failed request, which must work.
        private func again(_ body: () throws -> Void) throws -> Bool {
            let (error, reached) = inject(body)
            if error != nil { try body() }
            return reached
        }

        /// A failed retrieve of the handler is remembered. A retrieve that only lacked a descriptor can be repeated.
        private func retrieve(_ machine: Machine) throws -> Bool {
            let luo = try machine.boot()
            let session = try luo.retrieveSession("s")
            var came: Socket?
            let (error, reached) = inject { came = Socket(try session.retrieve(token: 1)) }
            #expect((came == nil) == (error != nil))
            try session.finish()
            return reached
        }

        private func inject(_ body: () throws -> Void) -> (error: LiveUpdateError?, reached: Bool) {
            let (error, calls) = FaultInjector.failing(call: number, with: .ioError, fromThenOn: sticky) {
                () -> LiveUpdateError? in
                do {
                    try body()
                    return nil
                } catch {
                    return error as? LiveUpdateError
                }
            }
            if let error { #expect(error.description.contains("\(Errno.ioError)"), "call \(number): \(error)") }
            return (error, calls >= number)
        }

        /// The number of open sockets.
        private func sockets() -> Int {
            (0..<CInt(1024)).count { number in
                var status = stat()
                return unsafe fstat(number, &status) == 0 && status.st_mode & S_IFMT == S_IFSOCK
            }
        }
    }
#endif
