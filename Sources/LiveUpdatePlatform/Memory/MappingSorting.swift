// SPDX-License-Identifier: Apache-2.0

/// The areas of a process's memory, sorted by the way in which their data can be preserved. This type does no I/O.
package struct MappingSorting: Equatable {
    /// An area, with the bytes of it that belong to the process alone.
    package struct Area: Equatable {
        let area: MappedArea
        let ownBytes: UInt64

        package init(area: MappedArea, ownBytes: UInt64) {
            self.area = area
            self.ownBytes = ownBytes
        }
    }

    /// All areas of one file, or a part of them, in the order of their addresses.
    package struct Group: Equatable {
        package fileprivate(set) var areas: [MappedArea]
        /// The bytes in the areas that belong to the process alone.
        package fileprivate(set) var ownBytes: UInt64

        package var first: MappedArea { areas[0] }
        package var bytes: UInt64 { areas.reduce(0) { $0 + UInt64($1.range.count) } }
    }

    /// Shared mappings of files for which the process has no descriptor. Some files may not be memory files.
    package private(set) var shared: [Group] = []
    /// Private mappings of files, with pages that the process has written. The data of these pages is not in the file.
    package private(set) var overFiles: [Group] = []
    /// The bytes of memory that is in no file.
    package private(set) var anonymous: UInt64 = 0

    /// Sorts areas.
    ///
    /// - Parameters:
    ///   - areas: all areas of the process.
    ///   - open: the files for which the process has descriptors.
    ///   - program: the file that the process executes. Its written pages are no data of the file.
    package init(_ areas: [Area], open: Set<FileIdentity>, program: FileIdentity?) {
        for area in areas {
            let found = area.area
            if found.isShared, found.hasFile {
                if !open.contains(found.file) { Self.add(area, to: &shared) }
            } else if found.isOverFile {
                if found.file != program, area.ownBytes > 0 { Self.add(area, to: &overFiles) }
            } else {
                anonymous += area.ownBytes
            }
        }
    }

    private static func add(_ area: Area, to groups: inout [Group]) {
        if let index = groups.firstIndex(where: { $0.first.file == area.area.file }) {
            groups[index].areas.append(area.area)
            groups[index].ownBytes += area.ownBytes
        } else {
            groups.append(Group(areas: [area.area], ownBytes: area.ownBytes))
        }
    }
}

extension MappedArea {
    /// Whether this is a private mapping of a file that others can open. Huge pages without a file of their own have
    /// one of the kernel's.
    fileprivate var isOverFile: Bool { hasFile && !isShared && !path.hasPrefix("/anon_hugepage") }
}
