struct CompareScenario {
    init(_ run: BenchRun) {}
    var steps: [BenchStep] { [] }
}
