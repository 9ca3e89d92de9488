struct SessionsScenario {
    init(_ run: BenchRun) {}
    var steps: [BenchStep] { [] }
}
