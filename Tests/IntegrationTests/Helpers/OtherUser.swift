// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdatePlatform
import SystemPackage

/// A user without rights.
let nobody: uid_t = 65534

/// Runs a closure as another user, in this thread only. Servers that it connects to see that user.
func asUser<Value>(_ user: uid_t, _ body: () throws -> Value) throws -> Value {
    try setThreadUser(user)
    let result = Result { try body() }
    try setThreadUser(0)
    return try result.get()
}

/// Calls setresuid(2) directly, because libc's function would change all threads. The real and the saved user stay.
private func setThreadUser(_ user: uid_t) throws {
    typealias Function = @convention(c) (Int, Int, Int, Int) -> Int
    guard let symbol = unsafe dlsym(nil, "syscall") else { throw SystemCallError("dlsym", .noFunction) }
    #if arch(x86_64)
        let setresuid = 117
    #else
        let setresuid = 147
    #endif
    // SAFETY: syscall(2) takes the number of words that the call has.
    let result = unsafe unsafeBitCast(symbol, to: Function.self)(setresuid, -1, Int(user), -1)
    guard result == 0 else { throw SystemCallError("setresuid", Errno(rawValue: errno)) }
}
