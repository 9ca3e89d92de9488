// SPDX-License-Identifier: Apache-2.0
import CLiveUpdate
import SystemPackage

/// The reason why the pages of hugetlb files cannot be found on this machine: ``HugePageScan`` needs userfaultfd(2).
package enum UserfaultObstacle: Equatable, Sendable {
    /// The kernel has no userfaultfd(2).
    case missing
    /// userfaultfd(2) has no minor faults for files on huge pages.
    case withoutMinorFaults
    /// This process may not use userfaultfd(2).
    case forbidden

    /// The obstacle that an error of ``HugePageScan`` shows; nil for an error with another cause.
    package init?(_ error: SystemCallError) {
        switch ("\(error.call)", error.errno) {
        case ("userfaultfd", .noFunction): self = .missing
        // Before Linux 5.11, the call does not know the flag that this process sets.
        case ("userfaultfd", .invalidArgument), ("UFFDIO_API", .invalidArgument), ("UFFDIO_REGISTER", .invalidArgument):
            self = .withoutMinorFaults
        case ("userfaultfd", .notPermitted): self = .forbidden
        default: return nil
        }
    }

    /// The obstacle on this machine, for this process; nil when there is none.
    package static func ofThisMachine() -> UserfaultObstacle? {
        do throws(SystemCallError) {
            _ = try openUserfault()
            return nil
        } catch {
            return UserfaultObstacle(error)
        }
    }

    /// The reason, as a clause.
    package var reason: String {
        switch self {
        case .missing: "this kernel has no userfaultfd(2)"
        case .withoutMinorFaults: "userfaultfd(2) of this kernel has no minor faults for files on huge pages"
        case .forbidden: "this process may not use userfaultfd(2)"
        }
    }

    /// The remedy, as a clause.
    package var remedy: String {
        switch self {
        case .missing, .withoutMinorFaults: "use Linux 5.13 or later, on x86-64 or arm64, with CONFIG_USERFAULTFD"
        case .forbidden: "allow it in the filter of system calls of the container or service"
        }
    }
}

/// Opens a userfaultfd with minor faults for files on huge pages: userfaultfd(2), ioctl_userfaultfd(2).
///
/// - Throws: ENOSYS when it is not built in, EINVAL before Linux 5.13, EPERM when a filter forbids it, EMFILE.
func openUserfault() throws(SystemCallError) -> OwnedDescriptor {
    let opened = try systemCall("userfaultfd") { cshims_userfaultfd() }
    let userfault = OwnedDescriptor(taking: FileDescriptor(rawValue: opened))
    let number = userfault.borrowed.rawValue
    try systemCall("UFFDIO_API") { cshims_userfault_api(number) }
    return userfault
}
