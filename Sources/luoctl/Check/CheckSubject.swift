// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage

/// A file that was checked.
struct CheckSubject {
    /// The number of its descriptor in the process that has it open.
    let fd: CInt?
    /// The path of the file, or the kernel's text for a file without a path.
    let name: String
    let status: FileStatus
    let kind: FileKind
    /// Nil if the content could not be determined.
    let content: FileContent?
    let verdict: Verdict
    /// The fate of the file when the kernel is replaced; nil for a refused file.
    let fate: FileFate?
    /// The first descriptor of the same file.
    let sameAs: CInt?

    /// - Throws: an error if the descriptor is not open.
    init(_ descriptor: FileDescriptor, fd: CInt?) throws(SystemCallError) {
        self.fd = fd
        name = (try? linkTarget("/proc/self/fd/\(descriptor.rawValue)")) ?? "?"
        status = try FileStatus(of: descriptor)
        kind = FileKind(status, try FileSystemKind(of: descriptor)).lookedUp(at: name, status.identity)
        content = FileContent(descriptor, status, kind)
        verdict = Verdict(descriptor)
        if case .accepted(let preserved) = verdict {
            fate = FileFate(preserved.fate, descriptor, status)
        } else {
            fate = nil
        }
        sameAs = nil
    }

    init(sameAs other: CheckSubject, fd: CInt) {
        self.fd = fd
        name = other.name
        status = other.status
        kind = other.kind
        content = other.content
        verdict = other.verdict
        fate = other.fate
        sameAs = other.fd
    }
}

/// The kind of a file, which decides the advice for a refused file.
enum FileKind: Hashable {
    /// A memory file. Its memory is freed when no process holds the file any more.
    case memory(PageSize)
    /// A file with a path, on tmpfs or another file system in memory, or on a disk.
    case named(inMemory: Bool)
    /// A file with a path that leads to no file or to another file for this command: the file is in another mount
    /// namespace, or another file has the name by now.
    case elsewhere
    /// A deleted file that is not in memory.
    case deleted
    /// A file of memfd_secret(2), which only the processes that have it mapped can read.
    case secret
    case other(InodeType)

    init(_ status: FileStatus, _ fileSystem: FileSystemKind) {
        switch (status.type, fileSystem) {
        case (.regular, .hugetlbfs(let bytes)): self = .memory(PageSize(bytes: bytes) ?? .base)
        case (.regular, .tmpfs) where status.links == 0: self = .memory(.base)
        case (.regular, .other(0x5345_434D)): self = .secret  // SECRETMEM_MAGIC
        case (.regular, _): self = status.links == 0 ? .deleted : .named(inMemory: fileSystem.isInMemory)
        case (let type, _): self = .other(type)
        }
    }

    /// The kind after a look at the path of a file with a name: ``elsewhere`` if the path does not lead to the file.
    fileprivate func lookedUp(at name: String, _ identity: FileIdentity) -> FileKind {
        guard case .named = self, (try? FileStatus(at: name))?.identity != identity else { return self }
        return .elsewhere
    }

    var isMemory: Bool {
        if case .memory = self { true } else { false }
    }

    /// The name of the kind, in the plural.
    var text: String {
        switch self {
        case .memory: "memory files"
        case .named: "files with a name"
        case .elsewhere: "files with a name elsewhere"
        case .deleted: "deleted files"
        case .secret: "secret memory"
        case .other(.pipe): "pipes"
        case .other(.socket): "sockets"
        case .other(.directory): "directories"
        case .other(.characterDevice), .other(.blockDevice): "devices"
        case .other(.symbolicLink): "symbolic links"
        case .other(.anonymous), .other(.regular): "anonymous inodes (epoll, eventfd and others)"
        }
    }

    /// The advice for files of this kind; nil for memory files, for which the handlers give better advice.
    var remedy: String? {
        switch self {
        case .memory: nil
        case .named(inMemory: false):
            "it stays by itself, also when the kernel is replaced: open it again by its name"
        case .named(inMemory: true):
            "it stays by itself until the kernel ends: open it again by its name; for a replacement of the kernel put it on "
                + "DAX (luoctl dax plan)"
        case .other(.directory), .other(.characterDevice), .other(.blockDevice), .other(.symbolicLink):
            "open it again by its name"
        case .elsewhere:
            "its name leads elsewhere here: open it again where its program runs, or hold it (luoctl preserve --held)"
        case .deleted, .secret, .other(.pipe), .other(.socket), .other(.anonymous), .other(.regular):
            "let the next image inherit it over execve, without close-on-exec, or make it again"
        }
    }
}
