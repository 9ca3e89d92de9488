// swift-tools-version: 6.2
// SPDX-License-Identifier: Apache-2.0
import PackageDescription

// The fuzzers are a separate package, because libFuzzer has its own main function and needs the whole library built for
// it. `make fuzz` builds them with -sanitize=fuzzer,address.

let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .treatAllWarnings(as: .error),
    .strictMemorySafety(),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
]
// libFuzzer provides the main function.
let withoutMain: [SwiftSetting] = [.unsafeFlags(["-parse-as-library"])]

let library: Target.Dependency = .product(name: "LiveUpdate", package: "liveupdate")
let system: Target.Dependency = .product(name: "SystemPackage", package: "swift-system")

/// The modules of luod. The package exports them only for the fuzzers.
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
