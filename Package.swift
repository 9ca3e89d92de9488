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

/// A program in C that luo-bench compares with: static where the Swift programs are, and without Swift's runtime.
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
let arguments: Target.Dependency = .product(
    name: "ArgumentParser", package: "swift-argument-parser", condition: .when(traits: ["Programs"]))
let logging: Target.Dependency = .product(
    name: "Logging", package: "swift-log", condition: .when(traits: ["Programs"]))

let package = Package(
    name: "liveupdate",
    products: [
        .library(
            name: "LiveUpdate",
            targets: [
                "LiveUpdate", "LiveUpdateCore", "LiveUpdateHandlers", "LiveUpdateDevice", "LiveUpdateHandover",
                "LiveUpdatePlatform",
            ]),
        .executable(name: "luoctl", targets: ["luoctl"]),
        .executable(name: "luo-bench", targets: ["luo-bench"]),
        .executable(name: "luod", targets: ["luod"]),
    ] + forFuzzers,
    traits: [
        .trait(
            name: "Programs",
            description: "luod, luoctl and luo-bench, whose dependencies users of the library can do without."),
        .default(enabledTraits: ["Programs"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
    ] + docc,
    targets: [
        // The C functions that Swift cannot call, and the libraries of the system.
        .target(
            name: "CLiveUpdate", path: "CShims",
            cSettings: [.define("_GNU_SOURCE"), .define("LIVEUPDATE_FAULTS", .when(configuration: .debug))]),
        .systemLibrary(name: "CLiveUpdateFDT", providers: [.apt(["libfdt-dev"])]),
        .systemLibrary(name: "CLiveUpdateCap", pkgConfig: "libcap", providers: [.apt(["libcap-dev"])]),

        .systemLibrary(name: "CLiveUpdateSeccomp", providers: [.apt(["libseccomp-dev"])]),

        // The library, from the bottom up. Dependencies point down only.
        .target(
            name: "LiveUpdatePlatform", dependencies: ["CLiveUpdate", "CLiveUpdateCap", system], swiftSettings: strict),
        .target(name: "LiveUpdateDeviceTree", dependencies: ["CLiveUpdateFDT"], swiftSettings: strict),
        .target(
            name: "LiveUpdateHandover", dependencies: ["LiveUpdatePlatform", "LiveUpdateDeviceTree", system],
            swiftSettings: strict),
        .target(
            name: "LiveUpdateCore",
            dependencies: ["LiveUpdatePlatform", "LiveUpdateDeviceTree", "LiveUpdateHandover", system],
            swiftSettings: strict),
        .target(
            name: "LiveUpdateHandlers",
            dependencies: ["LiveUpdateCore", "LiveUpdateHandover", "LiveUpdatePlatform", system],
            swiftSettings: strict),
        // The machine's memory and kernels, for the replacement of the kernel.
        .target(name: "LiveUpdateKernel", dependencies: ["LiveUpdatePlatform", system], swiftSettings: strict),
        // The decisions and the messages of an update, for luod and for embedded services.
        .target(
            name: "LiveUpdateMachine",
            dependencies: ["LiveUpdateCore", "LiveUpdateHandover", "LiveUpdatePlatform", system],
            path: "Sources/Update", swiftSettings: strict),
        .target(
            name: "LiveUpdate",
            dependencies: [
                "LiveUpdateCore", "LiveUpdateHandlers", "LiveUpdateHandover", "LiveUpdateMachine", "LiveUpdatePlatform",
                system,
            ],
            swiftSettings: strict),

        // Programs.
        .target(
            name: "LiveUpdateConformance",
            dependencies: ["LiveUpdateCore", "LiveUpdate", "LiveUpdateHandover", "LiveUpdatePlatform", system],
            swiftSettings: strict),
        .target(
            name: "LiveUpdateProtocol",
            dependencies: ["LiveUpdateCore", "LiveUpdateHandover", "LiveUpdatePlatform", system],
            swiftSettings: strict),
        .target(
            name: "LiveUpdateDevice",
            dependencies: ["LiveUpdateProtocol", "LiveUpdateCore", "LiveUpdatePlatform", system],
            swiftSettings: strict),
        .target(
            name: "LiveUpdateDaemon",
            dependencies: [
                "CLiveUpdateSeccomp", "LiveUpdateProtocol", "LiveUpdateMachine", "LiveUpdateCore", "LiveUpdateHandlers",
                "LiveUpdateHandover",
                "LiveUpdatePlatform", system, logging,
            ],
            swiftSettings: strict),
        .executableTarget(
            name: "luod",
            dependencies: [
                "LiveUpdateDaemon", "LiveUpdateCore", "LiveUpdateHandover", "LiveUpdatePlatform", system, logging,
            ],
            swiftSettings: strict,
            linkerSettings: linkStatically),
        // Shared by luoctl and luo-bench, and internal: exit codes, arguments, tables, JSON, the guard of huge pages.
        .target(
            name: "LiveUpdateCommandLine",
            dependencies: ["LiveUpdateCore", "LiveUpdatePlatform", system, arguments], swiftSettings: strict),
        .executableTarget(
            name: "luoctl",
            dependencies: [
                "CLiveUpdateSeccomp", "LiveUpdateCommandLine", "LiveUpdateConformance", "LiveUpdateCore",
                "LiveUpdateHandlers", "LiveUpdate", "LiveUpdateDevice", "LiveUpdateKernel", "LiveUpdateProtocol",
                "LiveUpdateHandover",
                "LiveUpdatePlatform", system, arguments, logging,
            ], swiftSettings: strict, linkerSettings: linkStatically),

        // The benchmark. The first of these targets measures nothing: it has the results, the comparison of two runs,
        // and the page that shows them.
        .target(name: "LiveUpdateBenchReport", swiftSettings: strict),
        // Counts the system calls of a thread, for the benchmark. It is C, because its tracer shares the memory of the
        // process.
        .target(name: "CCallCounter", path: "Benchmarks/counter", cSettings: [.define("_GNU_SOURCE")]),
        // The program that `luoctl bench` becomes.
        .executableTarget(
            name: "luo-bench",
            dependencies: [
                "CCallCounter", "LiveUpdateBenchReport", "LiveUpdateCommandLine", "LiveUpdateCore",
                "LiveUpdateHandlers", "LiveUpdate", "LiveUpdateDevice", "LiveUpdateProtocol", "LiveUpdateHandover",
                "LiveUpdatePlatform", system, arguments,
            ],
            path: "Benchmarks/bench", swiftSettings: strict, linkerSettings: linkStatically),
        // The program that luo-bench updates. It is lean, as a program must be for a short blackout.
        .executableTarget(
            name: "luo-bench-image",
            dependencies: [
                "LiveUpdateCore", "LiveUpdateHandlers", "LiveUpdate", "LiveUpdateHandover", "LiveUpdatePlatform",
                system,
            ],
            path: "Benchmarks/image", swiftSettings: strict, linkerSettings: linkStatically),
        .executableTarget(
            name: "Keep", dependencies: ["LiveUpdate"], path: "Examples/Keep", swiftSettings: strict),
        .target(
            name: "ListenerHandlers", dependencies: ["LiveUpdateCore"], path: "Examples/ListenerHandlers",
            swiftSettings: strict),

        .executableTarget(
            name: "KeepListening", dependencies: ["ListenerHandlers", "LiveUpdate"],
            path: "Examples/KeepListening", swiftSettings: strict),
        .target(
            name: "CacheStore", dependencies: ["ListenerHandlers", "LiveUpdateCore"], path: "Examples/CacheStore",
            swiftSettings: strict),
        .executableTarget(
            name: "CacheServer", dependencies: ["CacheStore", "ListenerHandlers", "LiveUpdate"],
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
                "CStuckFileSystem", "LiveUpdateBenchReport", "LiveUpdateCore", "LiveUpdate", "LiveUpdateHandover",
                "LiveUpdatePlatform", system,
            ],
            path: "Tests/Support", swiftSettings: strict),
        // Replaces malloc in the program of the tests, to count allocations.
        .target(name: "AllocationCounter", path: "Tests/AllocationCounter"),
        .testTarget(
            name: "PlatformTests", dependencies: ["LiveUpdatePlatform", "TestSupport", system], swiftSettings: strict),
        .testTarget(
            name: "BenchReportTests", dependencies: ["LiveUpdateBenchReport", "LiveUpdatePlatform", "TestSupport"],
            swiftSettings: strict),
        .testTarget(
            name: "DeviceTreeTests", dependencies: ["LiveUpdateDeviceTree", "TestSupport"], swiftSettings: strict),
        .testTarget(
            name: "HandoverTests", dependencies: ["LiveUpdateHandover", "LiveUpdatePlatform", "TestSupport", system],
            swiftSettings: strict),
        .testTarget(
            name: "LiveUpdateTests",
            dependencies: [
                "LiveUpdateCore", "LiveUpdate", "LiveUpdateHandover", "LiveUpdateDeviceTree", "LiveUpdatePlatform",
                "TestSupport", system,
            ], swiftSettings: strict),
        .testTarget(
            name: "ConformanceTests",
            dependencies: [
                "LiveUpdateConformance", "LiveUpdateCore", "LiveUpdateHandover", "LiveUpdatePlatform", "TestSupport",
                system,
            ],
            swiftSettings: strict),
        .testTarget(
            name: "HandlerTests",
            dependencies: [
                "LiveUpdateCore", "LiveUpdateHandlers", "LiveUpdate", "LiveUpdateHandover", "LiveUpdatePlatform",
                "TestSupport",
                "AllocationCounter", system,
            ], swiftSettings: strict),
        .testTarget(
            name: "KernelTests", dependencies: ["LiveUpdateKernel", "LiveUpdatePlatform", "TestSupport", system],
            exclude: ["Samples"], swiftSettings: strict),
        .testTarget(
            name: "UpdateTests",
            dependencies: [
                "LiveUpdateMachine", "LiveUpdateCore", "LiveUpdateHandover", "LiveUpdatePlatform", "TestSupport",
                system,
            ],
            swiftSettings: strict),
        .testTarget(
            name: "DaemonTests",
            dependencies: [
                "LiveUpdateDaemon", "LiveUpdateMachine", "LiveUpdateDevice", "LiveUpdateProtocol", "LiveUpdateCore",
                "LiveUpdateHandover", "LiveUpdatePlatform", "TestSupport", system, logging,
            ], swiftSettings: strict),
        // These tests are written as third parties test their handlers: without the support of this package's tests.
        .testTarget(
            name: "ListenerHandlerTests", dependencies: ["ListenerHandlers", "LiveUpdate"],
            swiftSettings: strict),
        // A program that updates itself, for the tests that need real processes.
        .executableTarget(
            name: "UpdateProbe",
            dependencies: [
                "LiveUpdateCore", "LiveUpdateHandlers", "LiveUpdate", "LiveUpdateHandover", "LiveUpdatePlatform",
                system,
            ],
            path: "Tests/UpdateProbe", swiftSettings: strict),
        // A C program for /dev/liveupdate, as others write it, for the tests of `luoctl run`.
        .executableTarget(name: "RunProbe", path: "Tests/RunProbe"),
        .testTarget(
            name: "IntegrationTests",
            dependencies: [
                "luo-bench", "luoctl", "luod", "UpdateProbe", "RunProbe", "Keep", "KeepListening", "CacheServer",
                "CacheService",
                "LiveUpdateBenchReport",
                "LiveUpdateProtocol",
                "LiveUpdateCore", "LiveUpdateDevice", "LiveUpdateHandover", "LiveUpdateKernel", "LiveUpdatePlatform",
                "TestSupport", system,
            ], swiftSettings: strict),
    ] + benchPrograms
)

// Parts of the package, for builds that need no more: the targets for the sanitizers, and the installed programs.
let isOnlyCore = Context.environment["LIVEUPDATE_CORE"] == "1"
let needsMore = ["LiveUpdateCommandLine", "IntegrationTests", "BenchReportTests"]
package.targets.removeAll { target in
    let isAbove = target.type == .executable || needsMore.contains(target.name)
    let isForTests = ["Examples/", "Tests/"].contains { target.path?.hasPrefix($0) == true } || target.type == .test
    return isOnlyCore && isAbove || staticExecutables && isForTests
}
package.products.removeAll { isOnlyCore && $0 is Product.Executable }
