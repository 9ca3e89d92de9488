// SPDX-License-Identifier: Apache-2.0
import CLiveUpdate
import Glibc
package import SystemPackage

/// The replacement of the running kernel: kexec_file_load(2) and reboot(2).
///
/// 1. ``load(kernel:initrd:commandLine:)`` puts the next kernel into memory. Nothing else changes, and ``unload()``
///    removes it again.
/// 2. ``execute()`` ends this kernel at once and starts the next one. No process is asked before. Only the contents of
///    disks stay, and memory that the next kernel does not touch.
package enum Kexec {
    /// Loads the next kernel, in place of a kernel that was loaded before.
    ///
    /// - Parameters:
    ///   - kernel: the image, open for reading.
    ///   - initrd: the initial RAM disk, open for reading; nil for none.
    ///   - commandLine: the complete command line of the next kernel.
    /// - Throws: EPERM without CAP_SYS_BOOT, or when loading is disabled or the kernel is locked down; ENOEXEC for an
    ///   image that this kernel does not know; EADDRNOTAVAIL without a place for it; EKEYREJECTED, ELIBBAD, ENOPKG and
    ///   other errors of the signature; EINVAL, EBUSY, ENOMEM; ENOSYS when this kernel cannot do it.
    package static func load(
        kernel: FileDescriptor, initrd: FileDescriptor?, commandLine: String
    ) throws(SystemCallError) {
        try systemCall("kexec_file_load") {
            unsafe cshims_kexec_load(kernel.rawValue, initrd?.rawValue ?? -1, commandLine)
        }
    }

    /// Removes the loaded kernel.
    ///
    /// - Throws: EPERM without CAP_SYS_BOOT, EBUSY while a kernel is being loaded, ENOSYS.
    package static func unload() throws(SystemCallError) { try systemCall("kexec_file_load") { cshims_kexec_unload() } }

    /// Writes the contents of all file systems to their disks: sync(2).
    package static func writeFileSystems() { sync() }

    /// Ends this kernel and starts the loaded one. This returns only with an error.
    ///
    /// - Throws: EINVAL without a loaded kernel, EPERM.
    package static func execute() throws(SystemCallError) -> Never {
        try systemCall("reboot") { cshims_kexec() }
        throw SystemCallError("reboot", .ioError)
    }
}
