import LiveUpdate
import Platform
import SystemPackage

/// A file that was looked at.
struct CheckSubject {
    /// Its number, in the process that has it open.
    let fd: CInt?
    /// Its name, or what the kernel shows for one that has none.
    let name: String
    let status: FileStatus
    let kind: FileKind
    /// Nil when that could not be found out.
    let content: FileContent?
    let verdict: Verdict
    /// The first descriptor of the same file.
    let sameAs: CInt?

    /// - Throws: when it is not open.
    init(_ descriptor: FileDescriptor, fd: CInt?) throws(SystemCallError) {
        self.fd = fd
        name = (try? linkTarget("/proc/self/fd/\(descriptor.rawValue)")) ?? "?"
        status = try FileStatus(of: descriptor)
        kind = FileKind(status, try FileSystemKind(of: descriptor))
        content = FileContent(descriptor, status, kind)
        verdict = Verdict(descriptor)
        sameAs = nil
    }

    init(sameAs other: CheckSubject, fd: CInt) {
        self.fd = fd
        name = other.name
        status = other.status
        kind = other.kind
        content = other.content
        verdict = other.verdict
        sameAs = other.fd
    }
}

/// What a file is, for people who ask what to do about it.
enum FileKind: Hashable {
    /// Its memory goes with its last holder.
    case memory(PageSize)
    /// A file of tmpfs, or of another file system, by its name.
    case named
    /// A deleted file that is not in memory.
    case deleted
    case other(InodeType)

    init(_ status: FileStatus, _ fileSystem: FileSystemKind) {
        switch (status.type, fileSystem) {
        case (.regular, .hugetlbfs(let bytes)): self = .memory(PageSize(bytes: bytes) ?? .base)
        case (.regular, .tmpfs) where status.links == 0: self = .memory(.base)
        case (.regular, _): self = status.links == 0 ? .deleted : .named
        case (let type, _): self = .other(type)
        }
    }

    var isMemory: Bool {
        if case .memory = self { true } else { false }
    }

    /// In the plural.
    var text: String {
        switch self {
        case .memory: "memory files"
        case .named: "files with a name"
        case .deleted: "deleted files"
        case .other(.pipe): "pipes"
        case .other(.socket): "sockets"
        case .other(.directory): "directories"
        case .other(.characterDevice), .other(.blockDevice): "devices"
        case .other(.symbolicLink): "symbolic links"
        case .other(.anonymous), .other(.regular): "anonymous inodes (epoll, eventfd and others)"
        }
    }

    /// What a program does with it instead; nil for memory, where the handlers know better.
    var remedy: String? {
        switch self {
        case .memory: nil
        case .named: "it stays by itself: open it again by its name"
        case .other(.directory), .other(.characterDevice), .other(.blockDevice), .other(.symbolicLink):
            "open it again by its name"
        case .deleted, .other(.pipe), .other(.socket), .other(.anonymous), .other(.regular):
            "let the next image inherit it over execve, without close-on-exec, or make it anew"
        }
    }
}
