// SPDX-License-Identifier: Apache-2.0

/// The names of the file system on a new DAX region. They differ from those on the regions that are there already.
package struct DaxPlanNames: Equatable, Sendable {
    /// The label of the file system.
    package let label: String
    /// The mount point.
    package let mount: String
    /// Whether the disk of the region is the only one, so that its name is known.
    package let isOnlyDisk: Bool

    /// Chooses names.
    ///
    /// - Parameters:
    ///   - others: the number of regions that are there, or that the command line asks for.
    ///   - mountPoints: the mount points that are in use.
    ///   - mount: the mount point that the caller wants; nil for one that is free.
    package init(others: Int, mountPoints: Set<String>, mount: String? = nil) {
        var number = others + 1
        while mount == nil, mountPoints.contains(Self.numbered("/mnt/dax", number)) { number += 1 }
        label = Self.numbered("luo-dax", number)
        self.mount = mount ?? Self.numbered("/mnt/dax", number)
        isOnlyDisk = others == 0
    }

    /// The first one has no number.
    private static func numbered(_ name: String, _ number: Int) -> String { number == 1 ? name : "\(name)\(number)" }
}
