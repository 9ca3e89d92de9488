import ArgumentParser
import Foundation

/// A user, by number or by the name that /etc/passwd has.
///
/// getpwnam(3) would load libraries, which a static program should not: users of a directory service have their number.
struct UserArgument: ExpressibleByArgument {
    let number: UInt32

    init?(argument: String) {
        guard let number = Self.number(argument) ?? Self.number(named: argument, in: Self.accounts) else { return nil }
        self.number = number
    }

    /// The largest number means no user: chown(2).
    private static func number(_ text: String) -> UInt32? {
        guard text.utf8.allSatisfy({ 0x30...0x39 ~= $0 }), let number = UInt32(text) else { return nil }
        return number == .max ? nil : number
    }

    /// passwd(5)
    static func number(named name: String, in accounts: String) -> UInt32? {
        for line in accounts.split(separator: "\n") {
            let fields = line.split(separator: ":", omittingEmptySubsequences: false)
            if fields.count > 2, !name.isEmpty, fields[0] == name { return number(String(fields[2])) }
        }
        return nil
    }

    private static var accounts: String {
        (try? Data(contentsOf: URL(fileURLWithPath: "/etc/passwd"))).map { String(decoding: $0, as: UTF8.self) } ?? ""
    }
}

/// Arguments whose numbers have a range, with an error that says so.
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
    static func process(_ text: String) throws -> CInt {
        guard let number = CInt(text), number > 0 else {
            throw ValidationError("a process is a number from 1 to \(CInt.max)")
        }
        return number
    }
}
