// SPDX-License-Identifier: Apache-2.0
import FoundationEssentials
package import LiveUpdateCore
package import LiveUpdateDevice
package import LiveUpdateProtocol

extension LuodStatus {
    /// Reads the present status.
    package init(of device: LiveUpdateDevice) throws(LiveUpdateError) {
        try self.init(lines: try device.status())
    }

    /// Reads the status of luod itself, without sessions.
    package static func daemon(of device: LiveUpdateDevice) throws(LiveUpdateError) -> LuodStatus {
        try LuodStatus(lines: String(decoding: try device.statusPage().lines, as: UTF8.self))
    }

    private init(lines text: String) throws(LiveUpdateError) {
        let lines = text.split(separator: "\n").joined(separator: ",")
        guard let lines = try? JSONDecoder().decode([LuodStatus.Line].self, from: Data("[\(lines)]".utf8)),
            let status = LuodStatus(lines)
        else {
            throw LiveUpdateError(
                .notSupported, "the status of luod cannot be read",
                remedy: "use a luoctl and a luod of the same version")
        }
        self = status
    }
}
