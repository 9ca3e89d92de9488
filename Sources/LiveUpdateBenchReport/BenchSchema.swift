// SPDX-License-Identifier: Apache-2.0

/// The error for a document with a layout that this version does not know.
public struct BenchSchemaError: Error, Equatable, CustomStringConvertible {
    /// The schema that the document names.
    public let found: String

    /// Names the schema that was found and the known one, and says what to do.
    public var description: String {
        """
        a benchmark's result with the schema \(found), and this version reads \(BenchDocument.currentSchema); \
        measure again, or compare with the version that made it
        """
    }
}

extension BenchDocument {
    /// The fields that every document has, in any layout. Decode them first: the rest may have an unknown layout.
    public struct Header: Decodable, Sendable {
        /// The name of the layout of the other fields.
        public let schema: String

        /// Throws if this version cannot read the other fields.
        public func check() throws(BenchSchemaError) {
            if schema != BenchDocument.currentSchema { throw BenchSchemaError(found: schema) }
        }
    }
}
