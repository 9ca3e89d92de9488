import Platform
import SystemPackage

extension FileDescriptor {
    /// As ``SystemPackage/FileDescriptor/send(_:_:)``, also when more descriptors are under way than this process may
    /// have open: those of all processes of its user count together, so that others could keep it from answering.
    ///
    /// - Throws: ETOOMANYREFS only without CAP_SYS_RESOURCE and CAP_SYS_ADMIN, of which the kernel takes either.
    func sendBeyondLimit(_ bytes: [UInt8], _ descriptors: [FileDescriptor]) throws(SystemCallError) {
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
