// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCommandLine
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage

/// The fate of an accepted file when the kernel is replaced (docs/kernel-update.md).
struct FileFate: Equatable {
    private let fate: KernelFate
    /// The bytes of a file on DAX that can be mapped by 2 MiB, because file and memory are aligned alike; nil for other
    /// files.
    let mappable: UInt64?

    init(_ fate: KernelFate, mappable: UInt64?) {
        self.fate = fate
        self.mappable = mappable
    }

    /// Looks at the extents of a file that stays. `fate` is that of the file's handler.
    init(_ fate: KernelFate, _ descriptor: FileDescriptor, _ status: FileStatus) {
        var mappable: UInt64?
        if fate == .stays, status.isRegular {
            let extents = (try? descriptor.mappedExtents(size: status.size, includingUnwritten: true)) ?? []
            mappable = extents.reduce(0) { $0 + $1.mappable(by: .huge2M) }
        }
        self.init(fate, mappable: mappable)
    }

    var text: String {
        switch fate {
        case .stays:
            "stays when the kernel is replaced"
                + (mappable.map { "; \(ByteCount.text($0)) can be mapped by 2 MiB" } ?? "")
        case .needsLiveUpdate: "ends with the kernel, unless it has LUO; put the memory on DAX (luoctl dax plan)"
        case .ends: "ends with the kernel; put the memory on DAX (luoctl dax plan)"
        }
    }

    /// The word in JSON.
    var word: String { fate.rawValue }
}
