// SPDX-License-Identifier: Apache-2.0

/// A command line of the kernel: "The kernel's command-line parameters" in its documentation. White space separates
/// arguments, double quotes protect white space, and in names `-` and `_` mean the same. Arguments behind `--` belong
/// to the first process.
package struct KernelCommandLine: Equatable, Sendable, CustomStringConvertible {
    /// An argument: `quiet`, `root=/dev/vda1` or `opts="a b"`.
    package struct Argument: Equatable, Sendable {
        /// The argument as it is written, with its quotes.
        package let text: String

        /// The name, which is the part before `=`.
        package var name: Substring { unquoted.prefix { $0 != "=" } }

        /// The value, without quotes; nil without `=`.
        package var value: String? {
            let parts = unquoted.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            return parts.count > 1 ? String(parts[1].filter { $0 != "\"" }) : nil
        }

        // The quotes of `"name=a value"` are around the whole argument.
        private var unquoted: Substring {
            guard text.hasPrefix("\"") else { return text[...] }
            let inside = text.dropFirst()
            return inside.hasSuffix("\"") ? inside.dropLast() : inside
        }

        /// Whether this is the argument of that name. For the kernel, `-` and `_` are the same in names.
        fileprivate func isNamed(_ name: String) -> Bool {
            self.name.replacing("-", with: "_") == name.replacing("-", with: "_")
        }
    }

    /// The arguments of the kernel, in their order.
    package private(set) var arguments: [Argument]
    /// The arguments of the first process, which are behind `--`.
    package private(set) var initArguments: [Argument]

    /// Parses a command line. Quotes that are not closed extend to the end, as in the kernel.
    package init(_ text: some StringProtocol) {
        var arguments: [Argument] = []
        var current = ""
        var isQuoted = false
        for character in text {
            if character == "\"" { isQuoted.toggle() }
            if character.isWhitespace && !isQuoted {
                if !current.isEmpty { arguments.append(Argument(text: current)) }
                current = ""
            } else {
                current.append(character)
            }
        }
        if !current.isEmpty { arguments.append(Argument(text: current)) }
        let end = arguments.firstIndex { $0.text == "--" } ?? arguments.endIndex
        self.arguments = Array(arguments[..<end])
        initArguments = Array(arguments[end...].dropFirst())
    }

    package var description: String {
        let all = arguments + (initArguments.isEmpty ? [] : [Argument(text: "--")] + initArguments)
        return all.map(\.text).joined(separator: " ")
    }

    // MARK: Questions

    /// The values of all arguments of a name, in their order. An argument without `=` has no value.
    package func values(_ name: String) -> [String?] { arguments.filter { $0.isNamed(name) }.map(\.value) }

    /// Whether the last argument of this name switches something on: `kho=on`. The kernel looks at the first letters:
    /// 1, y, t and on.
    package func isOn(_ name: String) -> Bool {
        guard let value = values(name).last.flatMap({ $0 })?.lowercased() else { return false }
        return ["1", "y", "t", "on"].contains { value.hasPrefix($0) }
    }

    /// The ranges of all `memmap=` arguments, in their order.
    package var memmaps: [Memmap] {
        values("memmap").compactMap { $0 }.flatMap { $0.split(separator: ",") }.compactMap { Memmap($0) }
    }

    // MARK: Changes

    /// The command line with more arguments. They go before `--`, and arguments of the first process are added to
    /// those.
    package func appending(_ more: KernelCommandLine) -> KernelCommandLine {
        var result = self
        result.arguments += more.arguments
        result.initArguments += more.initArguments
        return result
    }

    /// The command line without the arguments of some names.
    package func removing(_ names: [String]) -> KernelCommandLine {
        var result = self
        result.arguments.removeAll { argument in names.contains { argument.isNamed($0) } }
        return result
    }

    /// The command line for the next kernel, without the arguments that the boot loader adds for itself.
    package var forNextKernel: KernelCommandLine { removing(["BOOT_IMAGE", "initrd"]) }
}

/// A range of `memmap=`, such as `64G!4G`.
package struct Memmap: Equatable, Hashable, Sendable, CustomStringConvertible {
    /// The kind of memory that the kernel takes the range for.
    package enum Kind: Character, Sendable {
        /// Memory for the kernel's use.
        case usable = "@"
        /// ACPI data.
        case acpi = "#"
        /// Memory that the kernel does not touch.
        case reserved = "$"
        /// Memory that is protected, as persistent memory is: a DAX region.
        case persistent = "!"
    }

    /// The kind of memory.
    package let kind: Kind
    /// The addresses.
    package let range: Range<UInt64>

    /// Describes a range of memory.
    package init(_ kind: Kind, _ range: Range<UInt64>) {
        self.kind = kind
        self.range = range
    }

    /// Parses one range; nil for another text, such as `exactmap`.
    package init?(_ text: some StringProtocol) {
        var rest = Substring(text)
        guard let size = MemoryAmount.take(from: &rest), let kind = rest.popFirst().flatMap({ Kind(rawValue: $0) }),
            let start = MemoryAmount.take(from: &rest), rest.isEmpty
        else { return nil }
        let (end, overflow) = start.addingReportingOverflow(size)
        guard !overflow, size > 0 else { return nil }
        self.init(kind, start..<end)
    }

    /// The range as the command line writes it, without `memmap=`.
    package var description: String {
        "\(MemoryAmount.text(range.size))\(kind.rawValue)\(MemoryAmount.text(range.lowerBound))"
    }

    /// The argument for the kernel.
    package var argument: String { "memmap=\(self)" }
}

extension StringProtocol {
    /// The text without white space at both ends.
    package var trimmed: SubSequence {
        var rest = self[...]
        while rest.first?.isWhitespace == true { rest = rest.dropFirst() }
        while rest.last?.isWhitespace == true { rest = rest.dropLast() }
        return rest
    }
}

extension Range<UInt64> {
    /// The number of addresses.
    package var size: UInt64 { upperBound - lowerBound }

    /// Whether the other range is inside of this one.
    package func contains(_ other: Self) -> Bool { lowerBound <= other.lowerBound && other.upperBound <= upperBound }
}
