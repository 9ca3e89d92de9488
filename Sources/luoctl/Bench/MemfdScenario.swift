struct MemfdScenario {
    init(_ run: BenchRun) {}
    var steps: [BenchStep] { [] }
}
