// SPDX-License-Identifier: Apache-2.0
import FuzzSupport
import SystemPackage

@testable import LiveUpdateCore
@testable import LiveUpdateHandlers
@testable import LiveUpdateHandover
@testable import LiveUpdatePlatform

// Opens a whole arena as the next boot and as the same boot. Each opens it, or refuses it with a reason, and an
// inspection must agree. Each arena that opens is then used, and must be readable after the writes. The first byte of
// an input tells whether checksums are repaired. An image follows.

/// The world is made once. Each input only overwrites the file of the arena.
private let world: World = {
    do { return try World() } catch { fatalError("no memory files: \(error)") }
}()

@_cdecl("LLVMFuzzerInitialize")
public func initialize(_: UnsafeMutableRawPointer?, _: UnsafeMutableRawPointer?) -> CInt {
    writeSeedsIfAsked { try seeds() }
    return 0
}

@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = unsafe input(start, count)
    guard let flags = bytes.first else { return -1 }
    var image = Image.expanded(bytes.dropFirst())
    if flags & 1 == 1 { Image.repair(&image) }
    do {
        let refusals = try [Orchestrator.Opening.sameBoot, .nextBoot].map { opening in
            try world.load(image)
            return try read(opening)
        }
        compare(Inspection(ArenaSnapshot(image)), refusals.compactMap { $0 })
    } catch {
        fault("\(error)")
    }
    return 0
}

/// - Returns: the reason why it does not open; nil when it opens.
private func read(_ opening: Orchestrator.Opening) throws -> LiveUpdateError? {
    let boot: World.Boot
    do {
        boot = try world.boot(opening)
    } catch let error as ArenaError {
        return LiveUpdateError(error)
    } catch let error as LiveUpdateError {
        return error
    }
    // Opening writes to the arena, which must be readable after a crash as well as after an update.
    try expectReadable(.sameBoot, "what was opened")
    use(boot)
    try expectReadable(.sameBoot, "what was used")
    let wasPublished = (try? boot.orchestrator.publish(discardingUnfinished: true)) != nil
    if wasPublished { try expectReadable(.nextBoot, "what was published") }
    return nil
}

/// Reads a copy of the arena, because the running boot must find its own arena unchanged.
private func expectReadable(_ opening: Orchestrator.Opening, _ what: String) throws {
    let image = try world.image
    do {
        _ = try world.boot(opening).orchestrator.status()
    } catch {
        // Without damage the boot may still meet the arena's limit, because its journal needs room.
        if (error as? LiveUpdateError)?.errno != .noSpace { fault("\(what) cannot be read: \(error)") }
    }
    try world.load(image)
}

/// Makes every request, and ignores the answers.
private func use(_ boot: World.Boot) {
    let orchestrator = boot.orchestrator
    let sessions = (try? orchestrator.status().sessions) ?? []
    for name in sessions.filter({ $0.direction == .incoming }).map(\.name) {
        guard let session = try? orchestrator.retrieveSession(name) else { continue }
        for token in session.tokens { _ = try? session.retrieve(token: token) }
    }
    _ = try? orchestrator.withIncoming(boot.hugeTLB) { $0.pagesPreserved(of: .huge2M) }
    _ = try? orchestrator.withOutgoing(boot.hugeTLB) { $0 != nil }
    try? orchestrator.finishDiscarded()
    let new = try? orchestrator.createSession("one more")
    for (token, file) in world.descriptors.files.enumerated() { try? new?.preserve(file, token: UInt64(token)) }
    // Every second session is closed, so that some are left.
    for (index, session) in ((try? orchestrator.openSessions) ?? []).enumerated() where index % 2 == 0 {
        try? session.close()
    }
}

/// An image of the arena in each state.
private func seeds() throws -> [Seed] {
    var seeds: [Seed] = []
    try world.inEachState { name in seeds.append((name, [1] + Image.packed(try world.image))) }
    return seeds
}
