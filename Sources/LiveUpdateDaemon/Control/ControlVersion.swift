// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore

/// The version of the control link between a keeper and the processes that it starts. Each side sends its version first
/// (``ControlMessage/hello(_:)``), in a form that is the same in all versions.
///
/// A keeper and an orchestrator of different versions cannot work together. An update or a reload to an image with
/// another version is called off before anything is frozen.
struct ControlVersion: Equatable, Sendable {
    /// Raise this number with every change of ``ControlMessage`` or ``Settings``.
    static let current: UInt32 = 1

    /// The version of the control link.
    var number: UInt32
    /// The version of luod, for messages to users.
    var package: String

    /// The version of this program.
    static let own = ControlVersion(number: current, package: packageVersion)

    var isOwn: Bool { number == Self.current }

    /// The reason why an image of this version cannot run under a keeper of the given version, and the remedy.
    func mismatch(of image: String, withKeeper keeper: ControlVersion = .own) -> String {
        "\(image) is luod \(package) with version \(number) of the control link, and the keeper that runs is luod "
            + "\(keeper.package) with version \(keeper.number): nothing has changed; use an image with version "
            + "\(keeper.number), or end luod and start the other one (luoctl stop lists what would be lost)"
    }

    /// The reason why this program cannot become the keeper of an orchestrator of this version, and the remedy.
    func mismatch(ofOrchestratorOn state: String, withKeeper keeper: ControlVersion = .own) -> String {
        "the orchestrator that runs on \(state) is luod \(package) with version \(number) of the control link, and this "
            + "is luod \(keeper.package) with version \(keeper.number): start luod \(package), or end that process "
            + "first, which loses what it holds"
    }
}

/// The version of luod in the list of formats that an image in standby sends. Its entry is no format, because of the
/// space in it. Orchestrators that do not know the entry ignore it, and images that do not know it leave it out.
enum ImageVersion {
    private static let prefix = "luod-version "

    /// The entry of this program.
    static let ownEntry = prefix + packageVersion

    /// The version in a list; nil in a list without it.
    static func version(in formats: [String]) -> String? {
        formats.last { $0.hasPrefix(prefix) }.map { String($0.dropFirst(prefix.count)) }
    }
}
