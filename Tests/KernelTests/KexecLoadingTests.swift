// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

@testable import LiveUpdateKernel

/// The errors of loading a kernel. No kernel is loaded.
@Suite struct KexecLoadingTests {
    #if arch(x86_64)
        /// The file is replaced between the check and the load.
        @Test(arguments: [false, true]) func anotherImageIsNotLoaded(isLonger: Bool) throws {
            let directory = try TemporaryDirectory()
            let path = FilePath(directory.file("vmlinuz"))
            let bytes = try MadeImage().bytes()
            try Data(bytes).write(to: URL(fileURLWithPath: path.string))
            let next = KexecSituation.Next(
                path: path, file: .success(try KernelFile.read(path)), initrd: .none, commandLine: KernelCommandLine("")
            )
            let changed = isLonger ? bytes + [0] : bytes.dropLast() + [bytes[bytes.count - 1] ^ 1]
            try Data(changed).write(to: URL(fileURLWithPath: path.string))
            #expect(throws: KexecLoadFailure.changed) { try next.load() }
            try FileManager.default.removeItem(atPath: path.string)
            #expect(throws: KexecLoadFailure.failed(SystemCallError("open", .noSuchFileOrDirectory))) {
                try next.load()
            }
        }
    #endif

    @Test func everyErrorHasItsOwnMeaning() {
        let numbers: [CInt] = [
            EPERM, ENOENT, ENOEXEC, ENOMEM, EBUSY, EINVAL, ENOSYS, EKEYREJECTED, EADDRNOTAVAIL, EIO,
        ]
        let texts = numbers.map { number in
            KexecLoadFailure.failed(SystemCallError("kexec_file_load", Errno(rawValue: number))).text(lockdown: nil)
        }
        #expect(Set(texts.map { $0.prefix { $0 != ":" } }).count == numbers.count)
        for text in texts { #expect(text.contains(": ") && text.contains("(kexec_file_load: "), "\(text)") }
        for number in [ENOPKG, EBADMSG, ELIBBAD, ENOKEY, EKEYEXPIRED, EKEYREVOKED, EKEYREJECTED] {
            let failure = KexecLoadFailure.failed(SystemCallError("kexec_file_load", Errno(rawValue: number)))
            #expect(failure.text(lockdown: nil).contains("signature"))
        }
        let locked = KexecLoadFailure.failed(SystemCallError("kexec_file_load", .notPermitted))
        #expect(locked.text(lockdown: "integrity").contains("locked down (integrity)"))
    }
}
