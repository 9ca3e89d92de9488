// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateHandover
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage

/// Memory that a keeper shares with its orchestrators, and that outlives each of them. The keeper makes it and
/// allocates its space, so that no store causes a SIGBUS. It sends the memory to each orchestrator with the held
/// descriptors.
///
/// Layout: two tick counters; whether the arena was removed; one place for each request that is being done at the same
/// time; the ``RequestDeaths``; and the ``Counter``s.
@safe
final class ControlMemory: Sendable {
    /// The offsets, in bytes. No other type knows them.
    private enum Layout {
        static let keeperTicks = 0
        static let orchestratorTicks = 8
        /// 1 when the arena has lost its name.
        static let arenaIsRemoved = 16
        /// For each place: u64 digest, s64 slot; a slot of 0 means that no request is being done.
        static let places = 64
        static let placeStride = 16
        static let placeCount = 16
        /// u32 length, and the bytes of ``RequestDeaths``.
        static let deaths = 4096
        /// A u64 for each of ``Counter/all``.
        static let counters = 12288
        /// u64 sum of the blackouts in nanoseconds, and a u64 for each bucket.
        static let blackouts = 14336
        static let size = 16384
    }

    /// The process that counts ticks.
    enum Side {
        case keeper
        case orchestrator

        fileprivate var offset: Int { self == .keeper ? Layout.keeperTicks : Layout.orchestratorTicks }
    }

    private let mapping: Mapping

    /// Maps the memory.
    ///
    /// - Parameter file: made by ``make()``. The caller still owns it.
    /// - Throws: ENOMEM; EINVAL for a file that is shorter than the memory.
    init(_ file: FileDescriptor) throws(SystemCallError) {
        guard try FileStatus(of: file).size >= Layout.size else { throw SystemCallError("mmap", .invalidArgument) }
        mapping = try Mapping(of: file, length: UInt64(Layout.size), .shared(writable: true))
    }

    /// Makes the file and allocates its space.
    ///
    /// - Throws: EMFILE, ENOMEM, ENOSPC.
    static func make() throws(SystemCallError) -> OwnedDescriptor {
        let file = try makeMemoryFile(named: "luo-control", size: 0)
        try file.borrowed.allocate(offset: 0, length: UInt64(Layout.size))
        // Without the seals, a process with the file could shrink it, and stores of other processes would fail.
        try file.borrowed.addSeals([.shrink, .grow, .seal])
        return file
    }

    // SAFETY: each offset below is inside the mapping, which lives as long as this object.
    private func load(_ offset: Int) -> UInt64 { unsafe mapping.bytes.load(fromByteOffset: offset, as: UInt64.self) }

    private func store(_ value: UInt64, _ offset: Int) {
        unsafe mapping.bytes.storeBytes(of: value, toByteOffset: offset, as: UInt64.self)
    }

    // MARK: Ticks

    /// Counts one turn of a process's loop.
    func tick(_ side: Side) { store(load(side.offset) &+ 1, side.offset) }

    /// The number of turns of a process's loop. Only a change of the number has a meaning.
    func ticks(_ side: Side) -> UInt64 { load(side.offset) }

    // MARK: The arena's name

    /// Whether another program has removed the arena's name. The keeper sets this, and it never becomes false again.
    var arenaIsRemoved: Bool {
        get { load(Layout.arenaIsRemoved) == 1 }
        set { store(newValue ? 1 : 0, Layout.arenaIsRemoved) }
    }

    // MARK: Requests that are being done

    /// The number of requests that can be noted at the same time.
    static let places = Layout.placeCount

    /// Notes, before the work begins, that a request is being done. This takes two stores. `place` is below ``places``.
    func begin(_ request: RequestKey, place: Int = 0) {
        let offset = Layout.places + place * Layout.placeStride
        store(request.digest, offset)
        store(UInt64(bitPattern: request.slot), offset + 8)
    }

    /// Notes that the request was done.
    func end(place: Int = 0) { store(0, Layout.places + place * Layout.placeStride + 8) }

    /// Returns the requests that were being done when the orchestrator died, and forgets them.
    func takeRequests() -> [RequestKey] {
        (0..<Layout.placeCount).compactMap { place in
            let offset = Layout.places + place * Layout.placeStride
            let slot = Int64(bitPattern: load(offset + 8))
            guard slot != 0 else { return nil }
            store(0, offset + 8)
            return RequestKey(slot: slot, digest: load(offset))
        }
    }

    // MARK: Deaths

    /// The deaths that were counted so far. A damaged orchestrator may have written anything here: bytes that cannot be
    /// read count as no deaths.
    var deaths: RequestDeaths {
        get {
            let length = Int(unsafe mapping.bytes.load(fromByteOffset: Layout.deaths, as: UInt32.self))
            guard length <= Layout.counters - Layout.deaths - 4 else { return RequestDeaths() }
            let start = Layout.deaths + 4
            return RequestDeaths(unsafe [UInt8](mapping.bytes[start..<start + length])) ?? RequestDeaths()
        }
        set {
            let bytes = newValue.bytes
            precondition(bytes.count <= Layout.counters - Layout.deaths - 4)
            let start = Layout.deaths + 4
            unsafe mapping.bytes[start..<start + bytes.count].copyBytes(from: bytes)
            unsafe mapping.bytes.storeBytes(
                of: UInt32(bytes.count), toByteOffset: Layout.deaths, as: UInt32.self)
        }
    }

    // MARK: Counters

    /// Counts an event. Each counter is counted by one process only.
    func count(_ counter: Counter) {
        guard let place = Counter.all.firstIndex(of: counter) else { return }
        let offset = Layout.counters + 8 * place
        store(load(offset) &+ 1, offset)
    }

    /// All counters.
    var counters: [LuodStatus.Counter] {
        Counter.all.enumerated().map { $1.described(load(Layout.counters + 8 * $0)) }
    }

    /// Counts a blackout, in nanoseconds.
    func count(blackout: UInt64) {
        store(load(Layout.blackouts) &+ blackout, Layout.blackouts)
        let offset = Layout.blackouts + 8 + 8 * Counter.bucket(of: blackout)
        store(load(offset) &+ 1, offset)
    }

    /// All blackouts.
    var blackouts: LuodStatus.Blackouts {
        let bounds: [UInt64?] = Counter.blackoutBounds + [nil]
        return LuodStatus.Blackouts(
            sum: load(Layout.blackouts),
            buckets: bounds.enumerated().map { place, bound in
                LuodStatus.Bucket(upTo: bound, count: load(Layout.blackouts + 8 + 8 * place))
            })
    }
}
