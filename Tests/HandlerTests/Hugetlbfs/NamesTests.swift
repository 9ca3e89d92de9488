// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdateHandlers
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// Unusual names: all bytes except NUL and the slash, and long names.
@Suite(.requiresRoot) struct NamesTests {
    /// Preserves a file, lets all processes die, and retrieves the file.
    private static func goAndComeBack(_ file: TestFile) throws {
        let machine = try Machine()
        try machine.standardBoot().preserve(file)
        let boot = try Machine(survivorOf: machine).standardBoot()
        let session = try #require(try boot.orchestrator.openSessions.first)
        let taken = TestFile(try session.get(token: 1))
        #expect(try taken.status.identity == file.status.identity)
    }

    @Test("Names that are not UTF-8, or have line ends, quotes, or the mark of removed files", .requiresHugePages(4))
    func strangeBytes() async {
        await #expect(processExitsWith: .success) {
            let names: [[UInt8]] = [
                [0xFF, 0xFE, 0x80], [0xC3], [UInt8]("a\nb\t\"c\" \\ d".utf8), [0x01, 0x7F], [UInt8]("x (deleted)".utf8),
                [UInt8](repeating: 0xE9, count: 255),
            ]
            let directory = try Hugetlbfs().directory
            for name in names {
                let path = FilePath(bytes: directory.bytes + [UInt8(ascii: "/")] + name)
                let file = try TestFile(opening: path, O_RDWR | O_CREAT)
                try file.descriptor.setSize(1 << 21)
                let machine = try Machine()
                let boot = try machine.standardBoot()
                try boot.preserve(file)
                let record = try HugetlbfsFileRecord(at: boot.file(1).data, in: machine.storage())
                #expect(record.path.bytes == path.bytes)
                try Self.goAndComeBack(file)
            }
        }
    }

    /// Makes a file at the end of `depth` directories of 100 bytes each, step by step.
    private static func deepFile(_ depth: Int, in directory: FilePath) throws -> TestFile {
        let name = String(repeating: "d", count: 99)
        var place = try TestFile(opening: directory, O_RDONLY)
        for _ in 0..<depth {
            unsafe mkdirat(place.descriptor.rawValue, name, 0o700)
            place = try TestFile(opening: name, in: place, O_RDONLY)
        }
        let file = try TestFile(opening: "f", in: place, O_RDWR | O_CREAT)
        try file.descriptor.setSize(1 << 21)
        return file
    }

    @Test("Paths of nearly the greatest length work; longer ones are refused", .requiresHugePages(4))
    func longPaths() async {
        await #expect(processExitsWith: .success) {
            let directory = try Hugetlbfs().directory
            let file = try Self.deepFile(40, in: directory)
            #expect(try file.descriptor.path().bytes.count > 4000)
            try Self.goAndComeBack(file)

            let tooLong = try Self.deepFile(41, in: directory)
            let machine = try Machine()
            let boot = try machine.standardBoot()
            let error = failure { try boot.preserve(tooLong) }
            #expect(error?.errno == .fileNameTooLong)
            #expect(error?.remedy == "give it a shorter name")
            #expect(machine.descriptors.held.isEmpty)
        }
    }

    @Test("The name by which a file was opened counts; another name may come and go", .requiresHugePages(4))
    func hardLinks() async {
        await #expect(processExitsWith: .success) {
            let (file, path) = try Hugetlbfs().make()
            let other = path.removingLastComponent().appending("other")
            try link(path, to: other)
            let machine = try Machine()
            let boot = try machine.standardBoot()
            try boot.preserve(file)
            try remove(other)
            try boot.orchestrator.publish()
            try boot.orchestrator.thaw()
            try link(path, to: other)
            try remove(path)
            let error = failure { try boot.orchestrator.publish() }
            #expect(error?.errno == .noSuchFileOrDirectory)
            #expect(error?.reason.contains("nothing is named \(path)") == true)
            #expect(error?.remedy?.contains("open it by another of its names") == true)

            let session = try #require(try boot.orchestrator.openSessions.first)
            try session.unpreserve(token: 1)
            let again = failure { try session.preserve(file.descriptor, token: 1) }
            #expect(again?.errno == .noSuchFileOrDirectory, "its descriptor leads to the name that is gone")
            #expect(again?.remedy?.contains("open it by another of its names") == true)
            let byOther = try TestFile(opening: other, O_RDWR)
            try session.preserve(byOther.descriptor, token: 1)
            try boot.orchestrator.publish()
        }
    }

    @Test("A file opened through symbolic links has the name of their target", .requiresHugePages(4))
    func symbolicLinks() async {
        await #expect(processExitsWith: .success) {
            let (_, path) = try Hugetlbfs().make()
            // hugetlbfs itself has no symbolic links.
            let symbolic = path.removingLastComponent().removingLastComponent().appending("symbolic")
            _ = unsafe path.withPlatformString { from in
                unsafe symbolic.withPlatformString { to in unsafe symlink(from, to) }
            }
            let file = try TestFile(opening: symbolic, O_RDWR)
            #expect(try file.descriptor.path() == path)
            try Self.goAndComeBack(file)
        }
    }
}

extension TestFile {
    /// Opens a file in an open directory.
    fileprivate convenience init(opening name: String, in place: TestFile, _ flags: CInt) throws {
        let number = unsafe openat(place.descriptor.rawValue, name, flags | O_CLOEXEC, 0o600)
        guard number >= 0 else { throw SystemCallError("openat", Errno(rawValue: Glibc.errno)) }
        self.init(taking: FileDescriptor(rawValue: number))
    }
}
