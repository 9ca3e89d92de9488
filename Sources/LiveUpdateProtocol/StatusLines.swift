// SPDX-License-Identifier: Apache-2.0

/// The lines of a page, up to a number of bytes.
package struct StatusLines: Sendable {
    private var json = JSONWriter()
    private let room: Int

    /// The most bytes of a page.
    package static let most = 64 << 10

    /// Begins without lines.
    package init(room: Int = Self.most) {
        self.room = room
        json.bytes.reserveCapacity(room)
    }

    /// The lines, each with a newline at its end.
    package var bytes: [UInt8] { json.bytes }

    /// Appends the line of luod, which must be the first. It is added whatever its length.
    package mutating func add(_ daemon: LuodStatus.Daemon) {
        _ = add("luod") { json in
            json.member("schema", daemon.schema)
            json.member("orchestrator", daemon.orchestrator)
            json.member("keeper", daemon.keeper)
            json.array("processes", daemon.processes) { process, json in
                json.member("name", process.name)
                json.member("process", process.process)
                json.member("capabilities", process.capabilities)
                json.member("has_no_new_privileges", process.hasNoNewPrivileges)
                json.member("seccomp", process.seccomp)
            }
            json.member("keeper_answers", daemon.keeperAnswers)
            json.member("refusal", daemon.refusal)
            json.member("updates", daemon.updates)
            json.member("last_blackout", daemon.lastBlackout)
            json.member("arena_size", daemon.arenaSize)
            json.member("arena_used", daemon.arenaUsed)
            json.array("flbs", daemon.flbs) { flb, json in
                json.member("compatible", flb.compatible)
                json.member("direction", flb.direction)
                json.member("count", flb.count)
            }
            json.array("memory", daemon.memory ?? []) { memory, json in
                json.member("user", memory.user)
                json.member("page_size", memory.pageSize)
                json.member("bytes", memory.bytes)
                json.member("limit", memory.limit)
            }
            json.member("missing", daemon.missing ?? [])
            json.member("carries_memory", daemon.carriesMemory ?? false)
            json.member("ready", daemon.ready) { ready, json in
                json.member("image", ready.image)
                json.member("version", ready.version)
                json.member("process", ready.process)
                json.member("since", ready.since)
                json.member("failure", ready.failure)
            }
            if let load = daemon.load { Self.put(load, &json) }
            json.member("arena_is_named", daemon.arenaIsNamed ?? true)
        }
    }

    private static func put(_ load: LuodStatus.Load, _ json: inout JSONWriter) {
        json.name("load")
        json.object { json in
            json.array("counters", load.counters) { counter, json in
                json.member("name", counter.name)
                json.member("of", counter.of)
                json.member("result", counter.result)
                json.member("count", counter.count)
            }
            if let blackouts = load.blackouts {
                json.name("blackouts")
                json.object { json in
                    json.member("sum", blackouts.sum)
                    json.array("buckets", blackouts.buckets) { bucket, json in
                        json.member("up_to", bucket.upTo)
                        json.member("count", bucket.count)
                    }
                }
            }
            json.member("queue", load.queue)
            json.member("descriptors", load.descriptors)
            json.member("descriptor_limit", load.descriptorLimit)
        }
    }

    /// Appends the line of a session, without its files.
    ///
    /// - Returns: false when there is no room for it.
    package mutating func add(_ session: LuodStatus.Session) -> Bool {
        add("session") { json in
            json.member("number", session.number)
            json.member("name", session.name)
            json.member("owner", session.owner)
            json.member("direction", session.direction)
            json.member("is_open", session.isOpen)
            json.member("is_finished", session.isFinished)
            json.member("is_detached", session.isDetached)
            json.member("is_attached", session.isAttached)
            json.member("since", session.since)
            json.client("maker", session.maker)
            json.client("holder", session.holder)
        }
    }

    /// Appends the line of a file.
    ///
    /// - Returns: false when there is no room for it.
    package mutating func add(_ file: LuodStatus.File) -> Bool {
        add("file") { json in
            json.member("token", file.token)
            json.member("compatible", file.compatible)
            json.member("size", file.size)
            json.member("allocated", file.allocated)
            if let pageSize = file.pageSize { json.member("page_size", pageSize) }
            json.member("retrieved", file.retrieved)
            json.member("problem", file.problem)
            json.member("is_attested", file.isAttested ?? false)
            if let locks = file.locks { json.member("locks", locks) }
            json.member("kernel", file.kernel)
            json.member("device", file.device)
            json.member("inode", file.inode)
        }
    }

    private mutating func add(_ kind: String, _ members: (inout JSONWriter) -> Void) -> Bool {
        let before = json.bytes.count
        json.object { json in
            json.name(kind)
            json.object(members)
        }
        json.bytes.append(UInt8(ascii: "\n"))
        guard json.bytes.count <= room || before == 0 else {
            json.bytes.removeLast(json.bytes.count - before)
            return false
        }
        return true
    }
}

/// Writes the JSON of the status without Foundation, because Foundation's start would prolong each blackout.
private struct JSONWriter: Sendable {
    var bytes: [UInt8] = []
    private var isFirst = true

    mutating func object(_ members: (inout JSONWriter) -> Void) {
        bytes.append(UInt8(ascii: "{"))
        isFirst = true
        members(&self)
        bytes.append(UInt8(ascii: "}"))
        isFirst = false
    }

    mutating func name(_ name: String) {
        if !isFirst { bytes.append(UInt8(ascii: ",")) }
        isFirst = false
        put(name)
        bytes.append(UInt8(ascii: ":"))
    }

    mutating func member(_ name: String, _ value: String?) {
        self.name(name)
        if let value { put(value) } else { bytes += "null".utf8 }
    }

    mutating func member(_ name: String, _ value: (some FixedWidthInteger)?) {
        self.name(name)
        bytes += (value.map { "\($0)" } ?? "null").utf8
    }

    mutating func member(_ name: String, _ value: Bool) {
        self.name(name)
        bytes += (value ? "true" : "false").utf8
    }

    mutating func member(_ name: String, _ values: [String]) {
        list(name, values) { $1.put($0) }
    }

    mutating func array<Item>(_ name: String, _ items: [Item], _ members: (Item, inout JSONWriter) -> Void) {
        list(name, items) { item, json in json.object { members(item, &$0) } }
    }

    /// Appends an object, or null.
    mutating func member<Item>(_ name: String, _ item: Item?, _ members: (Item, inout JSONWriter) -> Void) {
        self.name(name)
        guard let item else { return bytes += "null".utf8 }
        object { members(item, &$0) }
    }

    mutating func client(_ name: String, _ client: LuodStatus.Client?) {
        member(name, client) { client, json in
            json.member("process", client.process)
            json.member("command", client.command)
        }
    }

    private mutating func list<Item>(_ name: String, _ items: [Item], _ put: (Item, inout JSONWriter) -> Void) {
        self.name(name)
        bytes.append(UInt8(ascii: "["))
        for (index, item) in items.enumerated() {
            if index > 0 { bytes.append(UInt8(ascii: ",")) }
            put(item, &self)
        }
        bytes.append(UInt8(ascii: "]"))
        isFirst = false
    }

    private mutating func put(_ text: String) {
        bytes.append(UInt8(ascii: "\""))
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"):
                bytes.append(UInt8(ascii: "\\"))
                bytes.append(byte)
            case 0..<0x20:
                let digits = String(byte, radix: 16)
                bytes += "\\u\(String(repeating: "0", count: 4 - digits.count))\(digits)".utf8
            default: bytes.append(byte)
            }
        }
        bytes.append(UInt8(ascii: "\""))
    }
}
