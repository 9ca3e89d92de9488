// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCommandLine
import LiveUpdateHandlers
import LiveUpdatePlatform
import SystemPackage

/// The fate of an accepted file when the kernel is replaced (docs/kernel-update.md).
enum KernelFate: Equatable {
    /// The file is on DAX. This many of its bytes can be mapped by 2 MiB, because file and memory are aligned alike.
    case stays(mappableBy2M: UInt64)
    /// The devdax device stays.
    case staysWhole
    /// Only a kernel with a Live Update Orchestrator carries the file.
    case needsLiveUpdate
    /// The file ends with the kernel.
    case ends

    init(_ descriptor: FileDescriptor, handler: String, size: UInt64) {
        switch handler {
        case DaxFileHandler.format:
            let extents = (try? descriptor.mappedExtents(size: size, includingUnwritten: true)) ?? []
            self = .stays(mappableBy2M: extents.reduce(0) { $0 + $1.mappable(by: .huge2M) })
        case DaxDeviceHandler.format: self = .staysWhole
        case MemfdHandler.format: self = .needsLiveUpdate
        default: self = .ends
        }
    }

    var text: String {
        switch self {
        case .stays(let bytes): "stays when the kernel is replaced; \(ByteCount.text(bytes)) can be mapped by 2 MiB"
        case .staysWhole: "stays when the kernel is replaced"
        case .needsLiveUpdate: "ends with the kernel, unless it has LUO; put the memory on DAX (luoctl dax plan)"
        case .ends: "ends with the kernel; put the memory on DAX (luoctl dax plan)"
        }
    }

    /// The word in JSON.
    var word: String {
        switch self {
        case .stays, .staysWhole: "stays"
        case .needsLiveUpdate: "needs-luo"
        case .ends: "ends"
        }
    }

    /// The bytes of a file on DAX that can be mapped by 2 MiB; nil for all other files.
    var mappable: UInt64? {
        if case .stays(let bytes) = self { bytes } else { nil }
    }
}

extension MappedExtent {
    /// The bytes in whole pages of a size, if the extent's place in the file and its place in memory are aligned alike.
    func mappable(by page: PageSize) -> UInt64 {
        guard place.offset % page.bytes == physical % page.bytes else { return 0 }
        let first = (place.offset + page.bytes - 1) / page.bytes * page.bytes
        let last = place.end / page.bytes * page.bytes
        return last > first ? last - first : 0
    }
}
