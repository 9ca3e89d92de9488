// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage
import TestSupport
import Testing

/// The close of an incoming session finishes it only after a request on it. Before a request, its descriptor may never
/// have arrived.
@Suite struct IncomingCloseTests {
    private let daemon: RunningDaemon
    private let client: DaemonClient
    private let file: MemoryFile

    init() async throws {
        daemon = try await RunningDaemon()
        client = try daemon.connect()
        file = try MemoryFile(bytes: [1, 2, 3])
        try client.create("s").release(afterPreserving: file)
        #expect(try client.change(.update) == nil)
    }

    @Test("A session that is closed before any request can be retrieved again", arguments: [false, true])
    func unasked(dies: Bool) throws {
        for _ in 0..<3 {
            let session = try client.retrieveSession("s")
            if dies { kill(try client.status().orchestrator, SIGKILL) }
            session.close()
        }
        #expect(try client.retrieveSession("s").retrieve(1).bytes() == [1, 2, 3])
    }

    @Test("A close after a request finishes the session", arguments: [false, true]) func asked(dies: Bool) throws {
        let session = try client.retrieveSession("s")
        _ = try session.name()
        if dies { kill(try client.status().orchestrator, SIGKILL) }
        session.close()
        #expect(try refusal { try client.retrieveSession("s") } == .noSuchFileOrDirectory)
        #expect(try client.status().sessions.isEmpty)
    }

    @Test("A client that lacks room for the descriptor of an answer loses nothing") func truncated() throws {
        let tag = try client.ask(.retrieveSession, NameCall("s").body)
        #expect(client.descriptor.isReadable(within: 60_000))
        // Removes the answer from the queue without room for its descriptor, which the kernel then closes.
        try client.descriptor.discardMessage()
        #expect(tag > 0)
        #expect(try client.retrieveSession("s").retrieve(1).bytes() == [1, 2, 3])
    }
}

extension DaemonClient {
    /// Preserves a file as token 1, and keeps the session open for as long as the process runs.
    fileprivate func release(afterPreserving file: MemoryFile) throws {
        try preserve(file, 1)
        try setDetached(true)
        try setDetached(false)
        _ = release()
    }
}
