// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCommandLine
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage

/// Makes the files of the first boot: plans them, reserves huge pages, checks the available memory, and fills them.
struct DemoFiles {
    typealias Made = [(file: DemoFile, descriptor: FileDescriptor)]

    let command: DemoCommand
    let place: DemoPlace
    let say: (String) -> Void

    /// Makes the files. Notes each step before it takes the step, so that a later run can undo it.
    func make(_ notes: inout DemoNotes) throws -> Made {
        try oneAtATime {
            let plan = try plan(&notes)
            guard !plan.isEmpty else {
                throw Exit.unavailable("nothing to show: \(notes.leftOut.joined(separator: ", "))")
            }
            try checkMemory(plan)
            return try fill(plan, &notes)
        }
    }

    /// Makes demos take huge pages one at a time. Pages that one demo found free, but has not touched yet, look free to
    /// another demo.
    private func oneAtATime<Value>(_ body: () throws -> Value) rethrows -> Value {
        let lock = unsafe open(place.directory.string, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        if lock >= 0 { flock(lock, LOCK_EX) }
        defer { if lock >= 0 { close(lock) } }
        return try body()
    }

    /// Plans the files. Files on huge pages are included only if there are enough pages.
    private func plan(_ notes: inout DemoNotes) throws -> [DemoFile] {
        let all = (0..<command.fileCount).map { file($0, path: nil) }
        let needed = UInt64(all.filter { $0.pageSize != .base }.reduce(0) { $0 + $1.pages })
        if let reason = try reserve(needed, &notes) { return try leaveOutHuge(all, reason, &notes) }
        guard command.hugetlbfs else { return all }
        let directory = try hugetlbfs()
        return all.map { item in
            file(
                item.index,
                path: item.pageSize == .base ? nil : place.hugeFile(in: directory, token: item.token).string)
        }
    }

    private func file(_ index: Int, path: String?) -> DemoFile {
        DemoFile(
            index: index, size: command.fileSize, pageSize: index % 2 == 0 ? command.pageSize : .base,
            seed: command.seed, path: path)
    }

    /// - Returns: the reason if the pages cannot be reserved; otherwise nil.
    private func reserve(_ needed: UInt64, _ notes: inout DemoNotes) throws -> String? {
        if let obstacle = UserfaultObstacle.ofThisMachine() { return "\(obstacle.reason); \(obstacle.remedy)" }
        if command.noReserve {
            let available = (try? HugePagePool(command.pageSize).available) ?? 0
            return available >= needed ? nil : "\(needed) free pages are needed, and --no-reserve was given"
        }
        say("reserving what is missing of \(needed) huge pages of \(command.pageSize); they are given back at the end")
        switch try PoolGuard.start(pages: needed, of: command.pageSize, notingIn: place.reserved) {
        case .success(let (poolGuard, taken)):
            notes.poolGuard = poolGuard
            notes.reserved = taken
            say(taken == 0 ? "the pool had enough" : "reserved \(taken)")
            return nil
        case .failure(let reason): return reason.text
        }
    }

    private func leaveOutHuge(_ all: [DemoFile], _ reason: String, _ notes: inout DemoNotes) throws -> [DemoFile] {
        let left = "\(all.filter { $0.pageSize != .base }.count) files on huge pages of \(command.pageSize): \(reason)"
        if command.needsHugePages { throw Exit.unavailable(left) }
        say("left out: \(left)")
        notes.leftOut.append(left)
        return all.filter { $0.pageSize == .base }
    }

    private func hugetlbfs() throws -> FilePath {
        // The hugetlbfs of another run does not count, because that run unmounts it.
        if let mounted = try HugePageMount.find(command.pageSize, outside: place.directory) { return mounted }
        do throws(SystemCallError) {
            try HugePageMount.make(place.mountPoint, command.pageSize)
        } catch {
            throw Exit.unavailable(
                "no hugetlbfs for pages of \(command.pageSize) is mounted, and it cannot be: \(error); as root: "
                    + "mount -t hugetlbfs -o pagesize=\(command.pageSize) none DIRECTORY")
        }
        say("mounted a hugetlbfs on \(place.mountPoint); it is unmounted at the end")
        return place.mountPoint
    }

    private func checkMemory(_ plan: [DemoFile]) throws {
        let wanted = plan.filter { $0.pageSize == .base }.reduce(0) { $0 + $1.dataBytes }
        let available = try availableMemory()
        guard wanted + (1 << 30) <= available else {
            throw Exit.unavailable(
                "the files take \(ByteCount.text(wanted)), and \(ByteCount.text(available)) are available: "
                    + "try --files or --size")
        }
    }

    private func make(
        _ item: DemoFile, _ progress: borrowing Progress
    ) throws -> (file: FileDescriptor, crc: UInt32) {
        do throws(SystemCallError) {
            return try item.make(progress)
        } catch {
            guard error.errno == .noSpace else { throw error }
            throw Exit.unavailable("file \(item.token): another process took the free pages: run it again")
        }
    }

    private func fill(_ plan: [DemoFile], _ notes: inout DemoNotes) throws -> Made {
        notes.files = plan.map { DemoNotes.File(planned: $0) }
        try notes.save(to: place)
        let frames = try FramesFile(place.frames, making: plan.reduce(0) { $0 + $1.pages })
        let bytes = plan.reduce(0) { $0 + $1.dataBytes }
        let progress = Progress("filling", total: 2 * bytes, isShown: !command.json)
        let start = monotonicNanoseconds()
        var made: Made = []
        var next = 0
        for (position, item) in plan.enumerated() {
            let (descriptor, crc) = try make(item, progress)
            let (_, found) = try item.read(descriptor, item.extents, progress)
            let identity = try FileStatus(of: descriptor).identity
            frames.set(found, from: next)
            notes.files[position].crc = crc
            notes.files[position].device = identity.device
            notes.files[position].inode = identity.inode
            notes.files[position].frames = next..<next + found.count
            next += found.count
            made.append((item, descriptor))
        }
        notes.phases.append(
            DemoNotes.Phase(update: 0, name: "fill", nanoseconds: monotonicNanoseconds() - start, bytes: bytes))
        return made
    }
}

extension DemoNotes.File {
    fileprivate init(planned item: DemoFile) {
        self.init(
            token: item.token, path: item.path, session: item.session.description, order: item.pageSize.order,
            size: item.size,
            position: item.position, seals: item.seals.rawValue, holes: item.hasHoles, crc: 0, device: 0, inode: 0,
            frames: 0..<0)
    }
}
