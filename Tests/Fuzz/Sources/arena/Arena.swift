import FuzzSupport
import Handover
import LiveUpdateHandlers
import Platform
import SystemPackage

@testable import LiveUpdate

// A whole arena, as the next boot and as the same one: it is opened, or refused with a reason, and an inspection says the
// same of it. What opens is used, and what is written then can be read again. First byte of an input: whether checksums
// are repaired; then an image.

/// Made once: an input only overwrites the arena's file.
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

/// - Returns: why it does not open.
private func read(_ opening: Orchestrator.Opening) throws -> LiveUpdateError? {
    let boot: World.Boot
    do {
        boot = try world.boot(opening)
    } catch let error as ArenaError {
        return LiveUpdateError(error)
    } catch let error as LiveUpdateError {
        return error
    }
    // What was opened is written: it must be readable, after a crash as well as after an update.
    try expectReadable(.sameBoot, "what was opened")
    use(boot)
    try expectReadable(.sameBoot, "what was used")
    let wasPublished = (try? boot.orchestrator.publish(discardingUnfinished: true)) != nil
    if wasPublished { try expectReadable(.nextBoot, "what was published") }
    return nil
}

/// In a copy: the boot that runs must find its arena as it left it.
private func expectReadable(_ opening: Orchestrator.Opening, _ what: String) throws {
    let image = try world.image
    do {
        _ = try world.boot(opening).orchestrator.status()
    } catch {
        // Another limit than damage may be met: there is room for a journal or not.
        if (error as? LiveUpdateError)?.errno != .noSpace { fault("\(what) cannot be read: \(error)") }
    }
    try world.load(image)
}

/// Every request; what they answer does not matter.
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
    // Every second one, so that something is left.
    for (index, session) in ((try? orchestrator.openSessions) ?? []).enumerated() where index % 2 == 0 {
        try? session.close()
    }
}

/// The arena in each state.
private func seeds() throws -> [Seed] {
    var seeds: [Seed] = []
    try world.inEachState { name in seeds.append((name, [1] + Image.packed(try world.image))) }
    return seeds
}
