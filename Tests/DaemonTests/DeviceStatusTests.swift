// SPDX-License-Identifier: Apache-2.0
import LiveUpdateDevice
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage
import TestSupport
import Testing

/// The status as users of the library get it.
@Suite struct DeviceStatusTests {
    private static let luod = #"""
        {"luod":{"schema":"luod-status-3","orchestrator":5,"keeper":0,"processes":[],"keeper_answers":false,"refusal":null,"updates":3,"last_blackout":7,"arena_size":4096,"arena_used":9,"flbs":[{"compatible":"hugetlb-v1","direction":"incoming","count":2,"new":[1]}],"memory":[{"user":7,"page_size":4096,"bytes":1,"limit":null}],"missing":["a: b"],"carries_memory":true,"ready":{"image":"/x","version":null,"process":0,"since":6,"failure":"why","new":1},"new":{"a":1}}}
        """#
    private static let session = #"""
        {"session":{"number":1,"name":"a\\x00b","owner":7,"direction":"incoming","is_open":true,"is_finished":false,"is_detached":true,"is_attached":false,"since":5,"maker":{"process":3,"command":"sh","new":0},"holder":null,"new":0}}
        """#
    private static let file = #"""
        {"file":{"token":"18446744073709551615","compatible":"memfd-v1","size":null,"retrieved":-5,"problem":"why","kernel":"needs-luo","device":1,"inode":2,"new":null}}
        """#

    private func status(_ lines: [String]) throws -> DeviceStatus {
        let daemon = try FakeDaemon { request in
            [.init(request.answer() + lines.flatMap { Array("\($0)\n".utf8) })]
        }
        defer { withExtendedLifetime(daemon) {} }
        return try LiveUpdateDevice.luod(state: FilePath(daemon.state)).status()
    }

    @Test("Every member is typed, and members and lines that the client does not know are ignored") func members()
        throws
    {
        let status = try status([Self.luod, Self.session, Self.file, #"{"new":{"a":[]}}"#])
        #expect(status.updates == 3 && status.lastBlackout == 7 && status.refusal == nil)
        #expect(status.orchestrator == 5 && status.keeper == nil && !status.keeperAnswers)
        #expect(status.arenaSize == 4096 && status.arenaUsed == 9)
        let flb = try #require(status.flbs.first)
        #expect(flb.compatible == "hugetlb-v1" && flb.direction == .incoming && flb.count == 2)
        let memory = try #require(status.memory.first)
        #expect(memory.user == 7 && memory.pageSize == 4096 && memory.bytes == 1 && memory.limit == nil)
        let session = try #require(status.sessions.first)
        #expect(session.name == SessionName(bytes: [0x61, 0, 0x62]) && session.user == 7)
        #expect(session.direction == .incoming && session.isOpen && session.isDetached)
        #expect(!session.isFinished && !session.isAttached)
        #expect(session.since == 5 && session.maker?.process == 3 && session.maker?.command == "sh")
        #expect(session.holder == nil)
        let ready = try #require(status.ready)
        #expect(ready.path == "/x" && ready.process == nil && ready.since == 6 && ready.failure == "why")
        let file = try #require(session.files.first)
        #expect(file.token == .max && file.compatible == "memfd-v1" && file.size == nil && file.problem == "why")
        #expect(file.retrieveStatus == .failed(errno: 5) && file.kernelFate == .needsLiveUpdate)
        #expect(status.missing == ["a: b"])
    }

    @Test("A status that cannot be read is ENOTSUP") func unreadable() {
        let changes = [
            (#""luod-status-3""#, #""luod-status-2""#), (#""keeper":0"#, #""keeper":"0""#), ("incoming", "sideways"),
            (#""retrieved":-5"#, #""retrieved":2"#), (#""token":"1"#, #""token":"x1"#), (#""is_open":true,"#, ""),
        ]
        for (old, new) in changes {
            let lines = [Self.luod, Self.session, Self.file].map { line in
                line.firstRange(of: old).map { line.replacingCharacters(in: $0, with: new) } ?? line
            }
            let error = failure { try status(lines) }
            #expect(error?.errno == .notSupported, "\(old): \(error?.description ?? "read")")
        }
        #expect(failure { try status([]) }?.errno == .notSupported)
        #expect(failure { try status([Self.luod, Self.file]) }?.errno == .notSupported, "a file before every session")
    }
}

extension String {
    fileprivate func replacingCharacters(in range: Range<Index>, with text: String) -> String {
        String(self[..<range.lowerBound]) + text + String(self[range.upperBound...])
    }
}
