// SPDX-License-Identifier: Apache-2.0
import Glibc

/// Grows the table of descriptors in advance, because growing it takes long in a process with several threads.
package func growDescriptorTable(to count: Int) {
    var limit = rlimit()
    guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
    let last = CInt(clamping: min(max(count, 0), Int(clamping: limit.rlim_cur))) - 1
    guard last > 2, fcntl(last, F_GETFD) == -1, dup2(STDERR_FILENO, last) == last else { return }
    close(last)
}

/// How many descriptors this process may have: RLIMIT_NOFILE of getrlimit(2).
package enum DescriptorLimit {
    /// The current limit.
    package static var now: Int {
        var limit = rlimit()
        guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 0 }
        return Int(clamping: limit.rlim_cur)
    }

    /// Sets the limit, up or down, as far as that is allowed. Open descriptors stay open.
    package static func set(to count: Int) {
        guard raise(to: count) else { return }
        var limit = rlimit()
        let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        guard unsafe getrlimit(resource, &limit) == 0, limit.rlim_cur > rlim_t(clamping: count) else { return }
        limit.rlim_cur = rlim_t(clamping: count)
        _ = unsafe setrlimit(resource, &limit)
    }

    /// Raises the limit, where that is needed and allowed. With CAP_SYS_RESOURCE the new limit can exceed the hard
    /// limit.
    ///
    /// - Returns: whether that many descriptors are allowed now.
    @discardableResult
    package static func raise(to count: Int) -> Bool {
        var limit = rlimit()
        let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        guard unsafe getrlimit(resource, &limit) == 0 else { return false }
        if limit.rlim_cur >= rlim_t(clamping: count) { return true }
        limit.rlim_cur = rlim_t(clamping: count)
        if limit.rlim_max >= limit.rlim_cur { return unsafe setrlimit(resource, &limit) == 0 }
        limit.rlim_max = limit.rlim_cur
        return Capabilities.raising(.systemResource) { unsafe setrlimit(resource, &limit) == 0 }
    }
}
