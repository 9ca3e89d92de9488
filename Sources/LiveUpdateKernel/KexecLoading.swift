// SPDX-License-Identifier: Apache-2.0
import Glibc
package import LiveUpdatePlatform
import SystemPackage

extension KexecSituation.Next {
    /// Loads the checked image and the initial RAM disk with kexec_file_load(2). Nothing else changes.
    ///
    /// - Throws: `changed` when the image is not the checked one any more; `failed` with the error of opening or
    ///   reading a file, or of kexec_file_load(2).
    package func load() throws(KexecLoadFailure) {
        do throws(SystemCallError) {
            let kernel = try openFile(path.string)
            let isUnchanged = try isChecked(kernel.borrowed)
            if isUnchanged { try load(kernel.borrowed) }
            // The descriptor stays open until here.
            _ = consume kernel
            if isUnchanged { return }
        } catch {
            throw .failed(error)
        }
        throw .changed
    }

    /// Whether the file still has the content that was checked: an upgrade can have replaced it.
    private func isChecked(_ kernel: FileDescriptor) throws(SystemCallError) -> Bool {
        guard case .success(let checked) = file else { return false }
        let size = try FileStatus(of: kernel).size
        guard size == checked.size else { return false }
        return CRC32C.of(try kernel.bytes(at: 0, count: Int(size))) == checked.checksum
    }

    private func load(_ kernel: FileDescriptor) throws(SystemCallError) {
        let commandLine = commandLine.description
        guard case .file(let path) = initrd else {
            return try Kexec.load(kernel: kernel, initrd: nil, commandLine: commandLine)
        }
        let initrd = try openFile(path.string)
        try Kexec.load(kernel: kernel, initrd: initrd.borrowed, commandLine: commandLine)
        // The descriptor stays open until here.
        _ = consume initrd
    }
}

/// The reason why the next kernel was not loaded.
package enum KexecLoadFailure: Error, Equatable, Sendable {
    /// The image is not the one that was checked.
    case changed
    /// A system call failed.
    case failed(SystemCallError)

    /// The reason in words, with a remedy.
    ///
    /// - Parameter lockdown: the lockdown of the running kernel; nil for none.
    /// - Returns: clauses that go after "the image was not loaded:".
    package func text(lockdown: String?) -> String {
        switch self {
        case .changed: "it has changed since it was checked: run luoctl kexec again"
        case .failed(let error): "\(Self.meaning(of: error.errno, lockdown: lockdown)) (\(error))"
        }
    }

    /// The meaning of an error of kexec_file_load(2).
    private static func meaning(of errno: Errno, lockdown: String?) -> String {
        switch errno.rawValue {
        case EPERM:
            if let lockdown {
                "the running kernel is locked down (\(lockdown)), and does not trust the signature of the image: use a "
                    + "kernel with a signature that the running one trusts, or start the machine without lockdown"
            } else {
                "the kernel does not allow it: run as root, outside of containers, and look at "
                    + "kernel.kexec_load_disabled"
            }
        case ENOENT, EACCES: "the image or the initial RAM disk cannot be opened: name another"
        case ENOEXEC: "this kernel does not know the format of the image: use a bzImage for this processor"
        case ENOMEM: "there is not enough memory for the image and the initial RAM disk: release some"
        case EBUSY: "another kernel is being loaded, or the memory of the crash kernel is in use: try again"
        case EINVAL:
            "the kernel refuses the image, the initial RAM disk or the command line: try without --append, or another "
                + "kernel"
        case ENOSYS: "this kernel is built without kexec_file_load(2): boot one with CONFIG_KEXEC_FILE"
        case ENOPKG, EBADMSG, ELIBBAD, ENOKEY, EKEYEXPIRED, EKEYREVOKED, EKEYREJECTED:
            "its signature is missing, or not of a key that this machine trusts: use a signed kernel of the "
                + "distribution"
        case EADDRNOTAVAIL: "there is no free range of memory for it: release memory, or make DAX regions smaller"
        default: "the kernel refuses it: look into the kernel's log with dmesg"
        }
    }
}
