// swift-tools-version: 6.2
// SPDX-License-Identifier: Apache-2.0
import PackageDescription

// Static executables break the sanitizer builds, so only `make` asks for them, and only where it needs them.
let staticExecutables = Context.environment["LIVEUPDATE_STATIC"] == "1"

let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .treatAllWarnings(as: .error),
    .strictMemorySafety(),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
]
// The plugin that builds the API documentation. Only scripts/documentation needs it: users of the library do not get
// it.
let docc: [Package.Dependency] =
    Context.environment["LIVEUPDATE_DOCC"] == "1"
    ? [.package(url: "https://github.com/swiftlang/swift-docc-plugin", from: "1.5.0")] : []
// Only Tests/Fuzz needs the modules of luod.
let forFuzzers: [Product] =
    Context.environment["LIVEUPDATE_FUZZ"] == "1"
    ? [.library(name: "LiveUpdateDaemon", targets: ["LiveUpdateDaemon", "LiveUpdateProtocol"])] : []
let linkStatically: [LinkerSetting] = staticExecutables ? [.unsafeFlags(["-static-executable"])] : []

/// A program in C that `luoctl bench` compares with: static where the Swift programs are, and without Swift's runtime.
func benchProgram(_ name: String, at path: String, header: String = "../common") -> Target {
    .executableTarget(
        name: name, path: path,
        cSettings: [.headerSearchPath(header), .headerSearchPath("\(header)/../../../CShims")]
            + (staticExecutables ? [.unsafeFlags(["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror"])] : []),
        linkerSettings: staticExecutables ? [.unsafeFlags(["-nostartfiles", "-Xclang-linker", "-static"])] : [])
}
let benchPrograms =
    ["preserve", "exec", "read", "cycle", "send", "call", "notify"].map {
        benchProgram("luo-floor-\($0)", at: "Benchmarks/floor/\($0)")
    }
    + ["service", "caller"].map {
        benchProgram("luo-bench-\($0)", at: "Benchmarks/\($0)", header: "../floor/common")
    }

let system: Target.Dependency = .product(name: "SystemPackage", package: "swift-system")
let arguments: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")
let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")

let package = Package(
    name: "liveupdate",
    products: [
        .library(
            name: "LiveUpdate",
            targets: [
                "LiveUpdate", "LiveUpdateHandlers", "LiveUpdateEmbedded", "LiveUpdateDevice", "Handover", "Platform",
            ]),
        .executable(name: "luoctl", targets: ["luoctl"]),
        .executable(name: "luod", targets: ["luod"]),
    ] + forFuzzers,
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
    ] + docc,
    targets: [
        // The C functions that Swift cannot call, and the libraries of the system.
        .target(name: "CShims", path: "CShims", cSettings: [.define("_GNU_SOURCE")]),
        .systemLibrary(name: "CLibFDT", providers: [.apt(["libfdt-dev"])]),
        .systemLibrary(name: "CLibCap", pkgConfig: "libcap", providers: [.apt(["libcap-dev"])]),

        .systemLibrary(name: "CLibSeccomp", providers: [.apt(["libseccomp-dev"])]),

        // The library, from the bottom up. Dependencies point down only.
        .target(name: "Platform", dependencies: ["CShims", "CLibCap", system], swiftSettings: strict),
        .target(name: "DeviceTree", dependencies: ["CLibFDT"], swiftSettings: strict),
        .target(name: "Handover", dependencies: ["Platform", "DeviceTree", system], swiftSettings: strict),
        .target(
            name: "LiveUpdate", dependencies: ["Platform", "DeviceTree", "Handover", system], swiftSettings: strict),
        .target(
            name: "LiveUpdateHandlers", dependencies: ["LiveUpdate", "Handover", "Platform", system],
            swiftSettings: strict),
        .target(
            name: "LiveUpdateEmbedded",
            dependencies: ["LiveUpdate", "LiveUpdateHandlers", "Handover", "Platform", system], swiftSettings: strict),

        // Programs.
        .target(
            name: "Conformance",
            dependencies: ["LiveUpdate", "LiveUpdateEmbedded", "Handover", "Platform", system], swiftSettings: strict),
        // The two sides of an update, without a carrier: luod's keeper is one, and an embedded service has its own.
        .target(
            name: "LiveUpdateMachine", dependencies: ["LiveUpdate", "Handover", "Platform", system],
            path: "Sources/Update", swiftSettings: strict),
        .target(
            name: "LiveUpdateProtocol", dependencies: ["LiveUpdate", "Handover", "Platform", system],
            swiftSettings: strict),
        .target(
            name: "LiveUpdateDevice", dependencies: ["LiveUpdateProtocol", "LiveUpdate", "Platform", system],
            swiftSettings: strict),
        .target(
            name: "LiveUpdateDaemon",
            dependencies: [
                "CLibSeccomp", "LiveUpdateProtocol", "LiveUpdateMachine", "LiveUpdate", "LiveUpdateHandlers",
                "Handover",
                "Platform", system,
            ],
            swiftSettings: strict),
        .executableTarget(
            name: "luod", dependencies: ["LiveUpdateDaemon", "LiveUpdate", "Handover", "Platform", system],
            swiftSettings: strict,
            linkerSettings: linkStatically),
        // The results of benchmarks, the comparison of two runs, and the page that shows them. Nothing is measured
        // here.
        .target(name: "BenchReport", swiftSettings: strict),
        .executableTarget(
            name: "luoctl",
            dependencies: [
                "CLibSeccomp", "BenchReport", "Conformance", "LiveUpdate", "LiveUpdateHandlers", "LiveUpdateEmbedded",
                "LiveUpdateDevice", "LiveUpdateProtocol", "Handover", "Platform", system, arguments, logging,
            ], swiftSettings: strict, linkerSettings: linkStatically),
        // The program that `luoctl bench` updates. It is lean, as a program must be for a short blackout.
        .executableTarget(
            name: "luo-bench-image",
            dependencies: ["LiveUpdate", "LiveUpdateHandlers", "LiveUpdateEmbedded", "Handover", "Platform", system],
            path: "Benchmarks/image", swiftSettings: strict, linkerSettings: linkStatically),
        .executableTarget(
            name: "Keep", dependencies: ["LiveUpdateEmbedded"], path: "Examples/Keep", swiftSettings: strict),
        .target(
            name: "ListenerHandlers", dependencies: ["LiveUpdate"], path: "Examples/ListenerHandlers",
            swiftSettings: strict),

        .executableTarget(
            name: "KeepListening", dependencies: ["ListenerHandlers", "LiveUpdateEmbedded"],
            path: "Examples/KeepListening", swiftSettings: strict),
        .target(
            name: "CacheStore", dependencies: ["ListenerHandlers", "LiveUpdate"], path: "Examples/CacheStore",
            swiftSettings: strict),
        .executableTarget(
            name: "CacheServer", dependencies: ["CacheStore", "ListenerHandlers", "LiveUpdateEmbedded"],
            path: "Examples/CacheServer", exclude: ["cache.service"], swiftSettings: strict),
        .executableTarget(
            name: "CacheService", dependencies: ["CacheStore", "ListenerHandlers", "LiveUpdateDevice"],
            path: "Examples/CacheService", swiftSettings: strict),

        // Tests. The vectors of the contract are in Tests/Vectors. The tests find them by the path of the sources.
        // A file system that does not answer, in C: its server is a fork of the tests' process.
        .target(name: "CStuckFileSystem", path: "Tests/StuckFileSystem"),
        .target(
            name: "TestSupport",
            dependencies: [
                "CStuckFileSystem", "BenchReport", "LiveUpdate", "LiveUpdateEmbedded", "Handover", "Platform", system,
            ],
            path: "Tests/Support", swiftSettings: strict),
        // Replaces malloc in the program of the tests, to count allocations.
        .target(name: "AllocationCounter", path: "Tests/AllocationCounter"),
        .testTarget(name: "PlatformTests", dependencies: ["Platform", "TestSupport", system], swiftSettings: strict),
        .testTarget(
            name: "BenchReportTests", dependencies: ["BenchReport", "Platform", "TestSupport"], swiftSettings: strict),
        .testTarget(name: "DeviceTreeTests", dependencies: ["DeviceTree", "TestSupport"], swiftSettings: strict),
        .testTarget(
            name: "HandoverTests", dependencies: ["Handover", "Platform", "TestSupport", system],
            swiftSettings: strict),
        .testTarget(
            name: "LiveUpdateTests",
            dependencies: [
                "LiveUpdate", "LiveUpdateEmbedded", "Handover", "DeviceTree", "Platform", "TestSupport", system,
            ], swiftSettings: strict),
        .testTarget(
            name: "ConformanceTests",
            dependencies: ["Conformance", "LiveUpdate", "Handover", "Platform", "TestSupport", system],
            swiftSettings: strict),
        .testTarget(
            name: "HandlerTests",
            dependencies: [
                "LiveUpdate", "LiveUpdateHandlers", "LiveUpdateEmbedded", "Handover", "Platform", "TestSupport",
                "AllocationCounter", system,
            ], swiftSettings: strict),
        .testTarget(
            name: "UpdateTests",
            dependencies: ["LiveUpdateMachine", "LiveUpdate", "Handover", "Platform", "TestSupport", system],
            swiftSettings: strict),
        .testTarget(
            name: "DaemonTests",
            dependencies: [
                "LiveUpdateDaemon", "LiveUpdateMachine", "LiveUpdateDevice", "LiveUpdateProtocol", "LiveUpdate",
                "Handover", "Platform", "TestSupport", system,
            ], swiftSettings: strict),
        // These tests are written as third parties test their handlers: without the support of this package's tests.
        .testTarget(
            name: "ListenerHandlerTests", dependencies: ["ListenerHandlers", "LiveUpdateEmbedded"],
            swiftSettings: strict),
        // A program that updates itself, for the tests that need real processes.
        .executableTarget(
            name: "UpdateProbe",
            dependencies: ["LiveUpdate", "LiveUpdateHandlers", "LiveUpdateEmbedded", "Handover", "Platform", system],
            path: "Tests/UpdateProbe", swiftSettings: strict),
        // A C program for /dev/liveupdate, as others write it, for the tests of `luoctl run`.
        .executableTarget(name: "RunProbe", path: "Tests/RunProbe"),
        .testTarget(
            name: "IntegrationTests",
            dependencies: [
                "luoctl", "luod", "UpdateProbe", "RunProbe", "Keep", "KeepListening", "CacheServer", "CacheService",
                "BenchReport",
                "LiveUpdateProtocol",
                "LiveUpdate", "LiveUpdateDevice", "Handover", "Platform", "TestSupport", system,
            ], swiftSettings: strict),
    ] + benchPrograms
)

// Parts of the package, for builds that need no more: the targets for the sanitizers, and the installed programs.
let isOnlyCore = Context.environment["LIVEUPDATE_CORE"] == "1"
let needsMore = ["IntegrationTests", "BenchReportTests"]
package.targets.removeAll { target in
    let isAbove = target.type == .executable || needsMore.contains(target.name)
    let isForTests = ["Examples/", "Tests/"].contains { target.path?.hasPrefix($0) == true } || target.type == .test
    return isOnlyCore && isAbove || staticExecutables && isForTests
}
package.products.removeAll { isOnlyCore && $0 is Product.Executable }
