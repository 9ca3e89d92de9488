struct FilesScenario {
    init(_ run: BenchRun) {}
    var steps: [BenchStep] { [] }
}
