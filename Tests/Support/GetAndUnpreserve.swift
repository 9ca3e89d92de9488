// SPDX-License-Identifier: Apache-2.0
package import LiveUpdateCore
package import LiveUpdatePlatform

extension Session {
    /// Gets a descriptor of a file and then unpreserves the file, like a program that continues with its own files.
    package func getAndUnpreserve(token: UInt64) throws(LiveUpdateError) -> OwnedDescriptor {
        let descriptor = try get(token: token)
        try unpreserve(token: token)
        return descriptor
    }
}
