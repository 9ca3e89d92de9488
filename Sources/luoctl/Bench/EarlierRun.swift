import FoundationEssentials
// SPDX-License-Identifier: Apache-2.0
import LiveUpdateBenchReport

/// Reads the document that `--json` printed in another run.
enum EarlierRun {
    /// - Throws: exit code 64, with the fault of the file.
    static func read(_ path: String) throws -> BenchDocument {
        let data = try InputFile.read(path)
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        do {
            // The header comes first: a document with an unknown schema has only this part in common.
            try decoder.decode(BenchDocument.Header.self, from: data).check()
            return try decoder.decode(BenchDocument.self, from: data)
        } catch let error as BenchSchemaError {
            throw Exit.usage("\(path): \("\(error)".shown)")
        } catch {
            throw Exit.usage("\(path) is not what luoctl bench --json prints: keep its standard output alone in a file")
        }
    }
}
