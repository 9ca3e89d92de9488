// SPDX-License-Identifier: Apache-2.0
package import SystemPackage

extension FileDescriptor {
    /// Sends a message like ``SystemPackage/FileDescriptor/send(_:_:)``, also when more descriptors are in transit than
    /// this process may have open. The kernel counts the descriptors of all processes of a user together, so other
    /// processes could otherwise prevent an answer.
    ///
    /// - Throws: ETOOMANYREFS only without CAP_SYS_RESOURCE and without CAP_SYS_ADMIN. The kernel accepts either.
    package func sendBeyondLimit(_ bytes: [UInt8], _ descriptors: [FileDescriptor]) throws(SystemCallError) {
        do throws(SystemCallError) {
            try send(bytes, descriptors)
        } catch {
            guard error.errno == .tooManyReferences else { throw error }
            try Capabilities.raising(.systemResource) { () throws(SystemCallError) in
                try Capabilities.raising(.systemAdministration) { () throws(SystemCallError) in
                    try send(bytes, descriptors)
                }
            }
        }
    }
}
