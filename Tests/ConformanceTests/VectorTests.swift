// SPDX-License-Identifier: Apache-2.0
import LiveUpdateConformance
import LiveUpdateCore
import Testing

@Suite struct VectorTests {
    @Test func allAreThere() {
        #expect(Vectors.named.count == 117)
        #expect(Vectors.random.count == 300)
        #expect(Set((Vectors.named + Vectors.random).map(\.scenario.name)).count == 417)
    }

    @Test("The kernel's results, byte for byte", arguments: Vectors.File.allCases)
    func asTheKernel(file: Vectors.File) throws {
        for line in file.lines {
            let difference = try Replay.run(line.scenario, file: line.file, line: line.number)
            if let difference { Issue.record("\(difference.description)") }
        }
    }

    @Test("A wrong expectation is found, and reported in the form that the README of the vectors gives")
    func differencesAreFound() throws {
        let scenario = try Scenario(
            line: """
                {"name":"n","flbs":[],"handlers":[],"files":{},"handlers_get_flb":false,\
                "steps":[{"do":"create","session":"s"},{"do":"close","session":"s"}],\
                "expect":[{"ret":0,"calls":[]},{"ret":-5,"calls":["x"]}]}
                """)
        let difference = try Replay.run(scenario, file: "F", line: 7)
        #expect(
            difference?.description
                == #"F:7 n step 2: want {"calls":["x"],"ret":-5} got {"calls":[],"ret":0}"#)
    }
}
