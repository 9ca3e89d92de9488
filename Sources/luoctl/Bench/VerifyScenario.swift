struct VerifyScenario {
    init(_ run: BenchRun) {}
    var steps: [BenchStep] { [] }
}
