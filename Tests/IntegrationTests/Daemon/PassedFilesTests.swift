// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdateCore
import TestSupport
import Testing

@testable import luoctl

/// `luoctl retrieve` passes files as a service manager passes sockets: sd_listen_fds(3).
@Suite struct PassedFilesTests {
    @Test(
        "The variables of a service manager",
        arguments: [
            ([:], []), (["LISTEN_FDS": "2"], []), (["LISTEN_PID": "7", "LISTEN_FDS": "2"], ["unknown", "unknown"]),
            (["LISTEN_PID": "8", "LISTEN_FDS": "2"], []), (["LISTEN_PID": "7", "LISTEN_FDS": "0"], []),
            (["LISTEN_PID": "7", "LISTEN_FDS": "-1"], []), (["LISTEN_PID": "7", "LISTEN_FDS": "x"], []),
            (["LISTEN_PID": "7", "LISTEN_FDS": "1025"], []), (["LISTEN_PID": "7"], []),
            (["LISTEN_PID": "7", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b"], ["a", "b"]),
            (["LISTEN_PID": "7", "LISTEN_FDS": "3", "LISTEN_FDNAMES": "a::"], ["a", "unknown", "unknown"]),
            (["LISTEN_PID": "7", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "a:b"], ["a"]),
        ] as [([String: String], [String])])
    func reading(_ variables: [String: String], _ names: [String]) {
        let passed = PassedFiles(process: 7, limit: 1024) { variables[$0] }
        #expect(passed.names == names)
        #expect(passed.end == 3 + CInt(names.count))
    }

    @Test("Names are added behind those that are there") func adding() {
        let variables = ["LISTEN_PID": "7", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "web"]
        var passed = PassedFiles(process: 7, limit: 1024) { variables[$0] }
        passed.add(PassedFiles.name("vm", token: 1))
        #expect(passed.variables.map(\.name) == ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"])
        #expect(passed.variables.map(\.value) == ["7", "3", "web:unknown:vm/1"])
    }

    @Test(
        "No name has a colon or a byte that is not printable",
        arguments: [
            ("vm", 1, "vm/1"), ("a:b", 2, "a\\x3ab/2"), ("a b/c", .max, "a b/c/18446744073709551615"),
            ("\\x3a", 0, "\\x5cx3a/0"), ("\u{e9}\n", 5, "\\xc3\\xa9\\x0a/5"), ("vm", nil, "vm"),
        ] as [(String, UInt64?, String)])
    func names(_ session: String, _ token: UInt64?, _ name: String) {
        #expect(PassedFiles.name(SessionName(session), token: token) == name)
    }
}

/// `luoctl retrieve` passes files to real programs.
@Suite struct PassingTests: LuoctlSuite {
    let daemon: RunningDaemon

    init() async throws {
        daemon = try await RunningDaemon()
        expect(try await ctl("session", "create", "v:m"))
        for (token, text) in [("1", "one"), ("2", "two")] {
            let file = try MemoryFile(bytes: [UInt8](text.utf8))
            expect(
                try await ctl(
                    "preserve", "--session", "v:m", "--token", token, "--fd", "3", inheriting: file.descriptor))
        }
        expect(try await ctl("update"))
    }

    private static let show = "echo $LISTEN_FDS $LISTEN_FDNAMES; test $LISTEN_PID = $$ && echo for me"

    @Test("The program learns the number and the names of its files") func variables() async throws {
        let ended = try await ctl(
            "retrieve", "--session", "v:m", "--token", "2", "--token", "1", "--", "/bin/sh", "-c",
            "\(Self.show); cat <&3; cat <&4")
        #expect(ended.lines == ["2 v\\x3am/2:v\\x3am/1", "for me", "twoone"], "\(ended)")
    }

    @Test("Descriptors that were passed before stay, and one retrieve follows another") func chain() async throws {
        let retrieve = "\"$0\" retrieve --session v:m --token"
        let script = """
            exec 3<"$1"; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=input exec \(retrieve) 1 -- \(retrieve) 2 -- \
            /bin/sh -c '\(Self.show); cat <&3; cat <&4; cat <&5'
            """
        let room = try TemporaryDirectory()
        try Data("zero".utf8).write(to: URL(fileURLWithPath: room.file("zero")))
        let ended = try await run(
            ["/bin/sh", "-c", script, Program.path("luoctl"), room.file("zero")],
            environment: ["LUO_STATE=\(daemon.state)"])
        #expect(ended.lines == ["3 input:v\\x3am/1:v\\x3am/2", "for me", "zeroonetwo"], "\(ended)")
    }

    @Test("A descriptor of the caller in the place of a file is not overwritten", arguments: ["3", "4"])
    func taken(_ number: String) async throws {
        let script = """
            exec \(number)</dev/null
            exec "$0" retrieve --session v:m --token 1 --token 2 -- true
            """
        let ended = try await run(
            ["/bin/sh", "-c", script, Program.path("luoctl")], environment: ["LUO_STATE=\(daemon.state)"])
        expect(ended, 64, says: "descriptor \(number) is open", "\(number)<&-", "LISTEN_FDS")
    }

    @Test("Variables for another process count nothing") func ofAnother() async throws {
        let script = "exec 3</dev/null; LISTEN_PID=1 LISTEN_FDS=1 exec \"$0\" retrieve --session v:m --token 1 -- true"
        let ended = try await run(
            ["/bin/sh", "-c", script, Program.path("luoctl")], environment: ["LUO_STATE=\(daemon.state)"])
        expect(ended, 64, says: "descriptor 3 is open")
    }
}
