// SPDX-License-Identifier: Apache-2.0
import LiveUpdateConformance
import Testing

/// A scenario that cannot be run is refused, with the reason.
@Suite struct MalformedTests {
    private static func line(
        flbs: String = #"["f0"]"#, handlers: String = #"[{"name":"h0","flbs":["f0"]}]"#,
        files: String = #"{"A":"h0","D":null}"#, steps: String, expect: String = #"[{"ret":0,"calls":[]}]"#
    ) -> String {
        """
        {"name":"n","flbs":\(flbs),"handlers":\(handlers),"files":\(files),"handlers_get_flb":false,\
        "steps":\(steps),"expect":\(expect)}
        """
    }

    private func reason(_ line: String) -> String? {
        do {
            _ = try Scenario(line: line)
            return nil
        } catch {
            return error.reason
        }
    }

    @Test func theSampleItselfIsRight() { #expect(reason(Self.line(steps: #"[{"do":"reboot"}]"#)) == nil) }

    @Test(
        "A missing or unknown field is named",
        arguments: [
            ("", "JSON"), ("[]", ""), ("{", "JSON"), (#"{"name":"n"}"#, "no \"flbs\""),
            (line(steps: #"[{"do":"explode"}]"#), "steps"),
            (line(steps: #"[{"do":"reboot"}]"#, expect: "[]"), "1 steps with 0 expectations"),
            (line(steps: #"[{"do":"reboot"}]"#, expect: #"[{"ret":0}]"#), "no \"calls\""),
            (line(steps: #"[{"do":"create"}]"#), "step 1, create: no \"session\""),
            (line(steps: #"[{"do":"close"}]"#), "no \"session\""),
            (line(steps: #"[{"do":"preserve","session":"s","file":"A"}]"#), "session, file and token"),
            (line(steps: #"[{"do":"preserve","session":"s","file":"A","token":-1}]"#), ""),
            (line(steps: #"[{"do":"retrieve","session":"s"}]"#), "session and token"),
            (line(steps: #"[{"do":"flb_get_incoming"}]"#), "no \"flb\""),
            (line(steps: #"[{"do":"flb_get_outgoing","flb":"f9"}]"#), "\"f9\" that is not listed"),
            (line(steps: #"[{"do":"register_flb","flb":"f0"}]"#), "handler and flb"),
            (line(steps: #"[{"do":"register_handler"}]"#), "no \"handler\""),
            (line(steps: #"[{"do":"unregister_handler","handler":"h9"}]"#), "\"h9\" that is not listed"),
            (line(handlers: #"[{"name":"h0","flbs":["f7"]}]"#, steps: #"[{"do":"reboot"}]"#), "\"f7\""),
            (line(files: #"{"A":"h5"}"#, steps: #"[{"do":"reboot"}]"#), "\"h5\""),
        ])
    func refused(line: String, because part: String) throws {
        let reason = try #require(self.reason(line))
        #expect(reason.contains(part) || part == "JSON" && reason.lowercased().contains("json"), "\(reason)")
    }

    @Test("Tokens have all 64 bits")
    func largeTokens() {
        let step = #"[{"do":"preserve","session":"s","file":"A","token":18446744073709551615}]"#
        #expect(reason(Self.line(steps: step)) == nil)
    }
}
