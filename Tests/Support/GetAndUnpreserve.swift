// SPDX-License-Identifier: Apache-2.0
public import LiveUpdateCore
import LiveUpdatePlatform
public import SystemPackage

extension Session {
    /// Gets a descriptor of a file and then unpreserves the file, like a program that continues with its own files.
    public func getAndUnpreserve(token: UInt64) throws(LiveUpdateError) -> FileDescriptor {
        let descriptor = try get(token: token)
        do throws(LiveUpdateError) {
            try unpreserve(token: token)
        } catch {
            try? closeDescriptor(descriptor)
            throw error
        }
        return descriptor
    }
}
