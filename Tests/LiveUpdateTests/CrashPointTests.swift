// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateHandover
import LiveUpdatePlatform
import TestSupport
import Testing

/// Shared memory keeps the stores of a killed process in their order. Stopping after each store therefore checks every
/// state that a crash can leave. Each of them must open as before or as after the interrupted request.
@Suite struct CrashPointTests {
    /// A complete run of a script: the view after each step, and the number of stores.
    private struct Reference {
        var views: [CrashView.Pair] = []
        var stores = 0
        var fileSizes: [UInt64] = []

        init(_ script: CrashScript) throws {
            let probe = CrashProbe()
            let world = try CrashWorld(probe, fileOf: 0)
            var views: [CrashView.Pair] = [try CrashView.Pair(world)]
            let whole = try script.run(world) { _ in views.append(try CrashView.Pair(world)) }
            #expect(whole == script.steps.count)
            self.views = views
            stores = probe.stores
            fileSizes = probe.sizes
        }
    }

    @Test("Each store of two updates, lost or cut in half", arguments: [false, true])
    func updates(cut: Bool) throws { try sweep(.updates, cut) }

    @Test("Each store while the journal is rewritten and the arena grows", arguments: [false, true])
    func growth(cut: Bool) throws { try sweep(.growth, cut) }

    @Test("The long run does rewrite its journal, and does grow")
    func theLongRunIsLongEnough() throws {
        let probe = CrashProbe()
        let world = try CrashWorld(probe, fileOf: 0)
        // Each new journal increases the generation. Three of the increases begin the boots and publish.
        _ = try CrashScript.growth.run(world)
        let journals = try world.machine.openArena().generation - 3
        #expect(journals >= 3, "\(journals)")
        #expect(Set(probe.sizes).count >= 4, "\(Set(probe.sizes))")
    }

    private func sweep(_ script: CrashScript, _ cut: Bool) throws {
        let reference = try Reference(script)
        #expect(reference.stores > 50)
        for stop in stride(from: 0, to: reference.stores, by: Scale.stride) {
            let world = try CrashWorld(CrashProbe(stop: stop, cutsInTheMiddle: cut), fileOf: CrashWorld.limit)
            try check(script, world, reference, stop)
        }
        print("crash points: \(script.name), \(cut ? "cut" : "lost"): \(reference.stores) stores")
    }

    private func check(_ script: CrashScript, _ world: CrashWorld, _ reference: Reference, _ stop: Int) throws {
        let whole = try run(script, world)
        // Gives the file the length that it had before this store.
        try world.machine.file.descriptor.setSize(reference.fileSizes[stop])
        do {
            let found = try CrashView.Pair(world)
            if found != reference.views[whole] && found != reference.views[whole + 1] {
                Issue.record(
                    """
                    \(script.name), stopped at store \(stop), in step \(whole): neither as before nor as after it:
                    \(found)
                    before: \(reference.views[whole])
                    after: \(reference.views[whole + 1])
                    """)
            }
        } catch {
            Issue.record("\(script.name), stopped at store \(stop), in step \(whole): \(error)")
        }
    }

    /// A dead writer still runs to the end of its request. The descriptors that it releases then stay held.
    private func run(_ script: CrashScript, _ world: CrashWorld) throws -> Int {
        let descriptors = world.machine.descriptors
        world.probe.whenDead { descriptors.freeze() }
        return try script.run(world)
    }
}
