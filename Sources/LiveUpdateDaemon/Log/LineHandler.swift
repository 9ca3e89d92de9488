// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdatePlatform
import Logging

/// Writes each event of a logger as one line on standard error, with one write(2), in the process's ``LogFormat``.
struct LineHandler: LogHandler {
    var logLevel = Logger.Level.info
    var metadata: Logger.Metadata = [:]
    var metadataProvider: Logger.MetadataProvider?
    private let process: String

    /// - Parameter process: the name of the process.
    init(_ process: String) { self.process = process }

    subscript(metadataKey key: String) -> Logger.MetadataValue? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let fields = metadata.merging(event.metadata ?? [:]) { $1 }
        let line = LogLine(
            time: wallClockNanoseconds(), level: event.level, process: process, number: getpid(),
            message: "\(event.message)", fields: fields)
        let text = LogFormat.current.text(line) + "\n"
        _ = unsafe Glibc.write(STDERR_FILENO, text, text.utf8.count)
    }
}
