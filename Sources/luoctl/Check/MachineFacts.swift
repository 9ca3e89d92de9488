// SPDX-License-Identifier: Apache-2.0

/// The facts about a machine, from which ``MachineReport`` decides. A fact that cannot be read is nil.
struct MachineFacts {
    /// A feature of the kernel that luod uses.
    struct Feature {
        var name: String
        /// The error of using it; nil if it works.
        var obstacle: String?
        /// The part of luod that needs it.
        var use: String
        var remedy: String
        /// Whether luod cannot run at all without it.
        var isNeeded = true
    }

    struct Kernel {
        var release = ""
        var features: [Feature] = []
        /// The state of the kernel's own orchestrator, as a sentence.
        var orchestrator = ""

        /// The first two numbers of the release.
        var number: (Int, Int)? {
            let parts = release.split(separator: ".").map { $0.prefix { $0.isNumber } }
            guard parts.count > 1, let first = Int(parts[0]), let second = Int(parts[1]) else { return nil }
            return (first, second)
        }
    }

    struct Limits {
        /// The hard limit on open files.
        var openFiles: UInt64?
        /// The limit on the size of files, in bytes; nil without a limit.
        var fileSize: UInt64?
        var systemFiles: (used: UInt64, most: UInt64)?
        /// The limit of the control group on memory, in bytes.
        var memory: UInt64?
        /// The free bytes of the state's file system.
        var room: (path: String, bytes: UInt64)?
    }

    struct Pool {
        struct Node {
            var node: Int
            var total: UInt64
            var free: UInt64
        }

        /// In bytes; the other numbers are pages.
        var pageSize: UInt64
        var total: UInt64
        var free: UInt64
        var reserved: UInt64 = 0
        var overcommit: UInt64 = 0
        var nodes: [Node] = []
    }

    struct Pools {
        var pools: [Pool] = []
        /// The mount points of hugetlbfs.
        var mounts: [String] = []
    }

    struct Permissions {
        var user: UInt32 = 0
        /// The capabilities of luod that this process lacks.
        var missing: [String] = []
    }

    /// A file of the state.
    struct Inode {
        var owner: UInt32
        var group: UInt32
        var mode: UInt32
        var isDirectory = false
    }

    struct State {
        enum Daemon {
            case none
            case answers
            case silent
            case forbidden
        }

        var path = "/run/luo"
        var directory: Inode?
        /// The clients' socket.
        var socket: Inode?
        var daemon = Daemon.none
    }

    struct Units {
        var hasSystemd = false
        /// The path of the unit's file.
        var service: String?
        var socket: String?
        /// Whether the luod that runs is in luod.service; nil if none runs.
        var isActive: Bool?
        var hasKexecDropIn = false
        /// FileDescriptorStoreMax= of the unit.
        var store: UInt64?
    }

    struct Program {
        var path: String
        var version: String?
    }

    struct Arena {
        var path: String
        var problem: String?
        /// False if the arena was too large, changed all the time, or may not be read.
        var isInspected = true
    }

    struct Versions {
        var luoctl = ""
        /// The luod beside this luoctl.
        var installed: Program?
        /// The program of the keeper that runs.
        var running: Program?
        var arena: Arena?
    }

    /// A file, mount or process without a purpose.
    struct Leftover {
        var text: String
        var remedy: String
    }

    var kernel = Kernel()
    var limits = Limits()
    var pools = Pools()
    var permissions = Permissions()
    var state = State()
    var units = Units()
    var versions = Versions()
    var leftovers: [Leftover] = []
}
