// SPDX-License-Identifier: Apache-2.0
import CacheStore
import Glibc
import LiveUpdateDevice

/// A client that sends requests without a pause until SIGTERM. Then it checks that the cache has all its values, and
/// prints how long the longest request took.
struct Load {
    private let path: FilePath
    private var values: [String: String] = [:]
    private var requests = 0
    private var longest: Duration = .zero

    static func run(at path: FilePath) throws {
        Signals.block()
        waitForService(at: path)
        var load = Load(path: path)
        while !Signals.sayToEnd() { try load.step() }
        for (key, value) in load.values { try load.expect(value, from: "get \(key)") }
        let milliseconds = (load.longest / .milliseconds(1) * 100).rounded() / 100
        print("\(load.requests) requests, the longest \(milliseconds) ms; \(load.values.count) values, none lost")
    }

    private init(path: FilePath) { self.path = path }

    /// Waits until the service listens, because it may have been started at the same time. If it never listens, the
    /// first request fails.
    private static func waitForService(at path: FilePath) {
        for _ in 0..<200 where (try? ask("info", at: path)) == nil && !Signals.sayToEnd() { usleep(50_000) }
    }

    /// Makes one request. Only one in sixteen stores a value, because the cache appends and can become full.
    private mutating func step() throws {
        let key = "\(getpid())-\(requests / 16 % 64)"
        if requests % 16 == 0 {
            let value = "value-\(requests)"
            try expect("ok", from: "set \(key) \(value)")
            values[key] = value
        } else {
            try expect(values[key] ?? "(nothing)", from: "get \(key)")
        }
    }

    private mutating func expect(_ expected: String, from request: String) throws {
        let begin = ContinuousClock.now
        let answer = try ask(request, at: path)
        longest = max(longest, ContinuousClock.now - begin)
        requests += 1
        guard answer == expected else { throw Lost(description: "\(request): \"\(answer)\", and not \"\(expected)\"") }
    }

    private struct Lost: Error, CustomStringConvertible {
        let description: String
    }
}
