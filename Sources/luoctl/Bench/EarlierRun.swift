import BenchReport
import FoundationEssentials

/// What `--json` printed in another run.
enum EarlierRun {
    /// - Throws: exit code 64, with what is wrong with the file.
    static func read(_ path: String) throws -> BenchDocument {
        let data = try InputFile.read(path)
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        do {
            // First what every document has: the rest of an unknown one cannot be read.
            try decoder.decode(BenchDocument.Header.self, from: data).check()
            return try decoder.decode(BenchDocument.self, from: data)
        } catch let error as BenchSchemaError {
            throw Exit.usage("\(path): \("\(error)".shown)")
        } catch {
            throw Exit.usage("\(path) is not what luoctl bench --json prints: keep its standard output alone in a file")
        }
    }
}
