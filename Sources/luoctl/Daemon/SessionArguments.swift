// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import LiveUpdateCommandLine
import LiveUpdatePlatform

/// A user, by number or by the name that /etc/passwd has.
struct UserArgument {
    let number: UInt32

    init(_ text: String) throws {
        let isNumber = !text.isEmpty && text.utf8.allSatisfy { 0x30...0x39 ~= $0 }
        let number = isNumber ? UInt32(text) : AccountFile(at: "/etc/passwd").number(of: text)
        // The largest number means no user: chown(2).
        guard let number, number != .max else {
            throw ValidationError(
                isNumber ? "the number of a user is at most \(UInt32.max - 1)" : "there is no user \(text.shown)")
        }
        self.number = number
    }
}

/// Numbers on the command line, with an error that names their range.
enum NumberArgument {
    @Sendable
    static func token(_ text: String) throws -> UInt64 {
        guard let number = UInt64(text) else {
            throw ValidationError("a token is a number from 0 to \(UInt64.max)")
        }
        return number
    }

    @Sendable
    static func descriptor(_ text: String) throws -> CInt {
        guard let number = CInt(text), number >= 0 else {
            throw ValidationError("a descriptor is a number from 0 to \(CInt.max)")
        }
        return number
    }

    @Sendable
    static func seconds(_ text: String) throws -> UInt16 {
        guard let number = UInt16(text) else {
            throw ValidationError("give a number of seconds from 0 to \(UInt16.max)")
        }
        return number
    }

    /// Milliseconds, up to a day.
    @Sendable
    static func milliseconds(_ text: String) throws -> UInt32 {
        guard let number = UInt32(text), number <= 86_400_000 else {
            throw ValidationError("give a number of milliseconds from 0 to 86400000, which is a day")
        }
        return number
    }

    @Sendable
    static func address(_ text: String) throws -> UInt64 {
        guard text.hasPrefix("0x"), let number = UInt64(text.dropFirst(2), radix: 16) else {
            throw ValidationError("an address is a number with 16 as its base, such as 0x7f2b6d840000")
        }
        return number
    }

    @Sendable
    static func process(_ text: String) throws -> CInt {
        guard let number = CInt(text), number > 0 else {
            throw ValidationError("a process is a number from 1 to \(CInt.max)")
        }
        return number
    }
}

/// The option that selects files of a session.
struct TokenOptions: ParsableArguments {
    @Option(
        name: .customLong("token"), parsing: .unconditionalSingleValue,
        help: "A file of it; several times for several.", transform: NumberArgument.token)
    var tokens: [UInt64] = []

    func validate() throws {
        guard !tokens.isEmpty else { throw ValidationError("say which files: --token") }
    }
}
