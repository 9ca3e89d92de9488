/// A document whose layout this version does not know.
public struct BenchSchemaError: Error, Equatable, CustomStringConvertible {
    /// The schema that it names.
    public let found: String

    /// Says what was found, what is known, and what to do.
    public var description: String {
        """
        a benchmark's result with the schema \(found), and this version reads \(BenchDocument.currentSchema); \
        measure anew, or compare with the version that made it
        """
    }
}

extension BenchDocument {
    /// What every document has, whatever its layout: read this first, because the rest of an unknown one cannot be.
    public struct Header: Decodable, Sendable {
        /// Names the layout of the rest.
        public let schema: String

        /// Passes when this version can read the rest.
        public func check() throws(BenchSchemaError) {
            if schema != BenchDocument.currentSchema { throw BenchSchemaError(found: schema) }
        }
    }
}
