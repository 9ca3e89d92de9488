import Glibc

/// How many descriptors this process may have: RLIMIT_NOFILE of getrlimit(2).
public enum DescriptorLimit {
    /// Raises the limit, where that is needed and allowed: beyond the hard limit with CAP_SYS_RESOURCE.
    ///
    /// - Returns: whether as many descriptors are allowed now.
    @discardableResult
    public static func raise(to count: Int) -> Bool {
        var limit = rlimit()
        let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        guard unsafe getrlimit(resource, &limit) == 0 else { return false }
        if limit.rlim_cur >= rlim_t(count) { return true }
        limit.rlim_cur = rlim_t(count)
        if limit.rlim_max >= limit.rlim_cur { return unsafe setrlimit(resource, &limit) == 0 }
        limit.rlim_max = limit.rlim_cur
        return Capabilities.raising(.systemResource) { unsafe setrlimit(resource, &limit) == 0 }
    }
}
