// swift-tools-version: 6.2
import PackageDescription

// A package of its own: libFuzzer brings its own main function, and wants the whole library built for it. `make fuzz`
// builds it with -sanitize=fuzzer,address.

let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .treatAllWarnings(as: .error),
    .strictMemorySafety(),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
]
// The main function is libFuzzer's.
let withoutMain: [SwiftSetting] = [.unsafeFlags(["-parse-as-library"])]

let library: Target.Dependency = .product(name: "LiveUpdate", package: "liveupdate")
let system: Target.Dependency = .product(name: "SystemPackage", package: "swift-system")

/// The modules of luod, which the package exports for the fuzzers only.
let daemon: Target.Dependency = .product(name: "LiveUpdateDaemon", package: "liveupdate")

func fuzzer(_ name: String, _ more: Target.Dependency...) -> Target {
    .executableTarget(
        name: name, dependencies: ["FuzzSupport", library, system] + more, swiftSettings: strict + withoutMain)
}

let package = Package(
    name: "Fuzz",
    dependencies: [
        .package(name: "liveupdate", path: "../.."),
        .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
    ],
    targets: [
        .target(name: "FuzzSupport", dependencies: [library, system], swiftSettings: strict),
        fuzzer("arena"), fuzzer("control", daemon), fuzzer("journal"), fuzzer("records"), fuzzer("requests", daemon),
        fuzzer("tree"),
    ]
)
