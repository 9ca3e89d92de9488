// SPDX-License-Identifier: Apache-2.0
import Foundation
import LiveUpdatePlatform
import SystemPackage

/// A web browser without a window, which reads our pages independently.
package enum Chromium {
    static let path = ["/usr/bin/chromium", "/usr/local/bin/chromium"].first { (path: String) in
        FileManager.default.isExecutableFile(atPath: path)
    }

    /// Lays out a page in a window of some width, and returns the result of a script and the complaints of the browser.
    ///
    /// `page` is HTML. It is shown in a frame of that width, because no window is as narrow as a phone. `script` is
    /// JavaScript that runs after the layout, with `page` as its document. Its return value is the result.
    package static func look(
        at page: String, width: Int, dark: Bool = false, _ script: String
    ) throws -> (result: String, complaints: [String]) {
        let folder = try TemporaryFolder()
        let file = "\(folder.path)/page.html"
        try wrapped(page, width: width, script).write(toFile: file, atomically: false, encoding: .utf8)
        let options = [
            // Root has no user namespaces for the sandbox. The page is our own.
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            // The browser must make no network requests.
            "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-pings",
            "--host-resolver-rules=MAP * ~NOTFOUND", "--user-data-dir=\(folder.path)/profile",
            "--blink-settings=preferredColorScheme=\(dark ? 0 : 1)", "--window-size=1400,1000",
            "--enable-logging=stderr", "--v=0", "--virtual-time-budget=10000", "--dump-dom", "file://\(file)",
        ]
        // The browser's complaints go to its output.
        let image = ProgramImage(
            path: "/bin/sh", arguments: ["sh", "-c", "exec \"$@\" 2>&1", "sh", path ?? "/usr/bin/chromium"] + options
        ).setting("HOME", folder.path).setting("LD_PRELOAD", nil)
        var (status, output) = try run(image)
        // A crash of the browser says nothing about the page.
        if status > 128 { (status, output) = try run(image) }
        guard let output, status == 0, let result = output.between("<pre id=\"result\">", "</pre>") else {
            throw Failed(status: status, output: output ?? "it did not end")
        }
        let lines: [Substring] = output.split(separator: "\n")
        return (result.unescaped, lines.filter { $0.contains(":CONSOLE") }.map { String($0) })
    }

    /// - Returns: the exit status and the output of the browser; nil if it did not end in time.
    private static func run(_ image: ProgramImage) throws -> (status: Int32, output: String?) {
        let process = try ChildProcess.start(image)
        let output = process.readOutput(within: 120_000)
        if output == nil { process.kill() }
        return (process.finish(), output)
    }

    /// The error of a browser that could not show a page.
    package struct Failed: Error {
        /// The exit status of the browser.
        package let status: Int32
        /// The output of the browser.
        package let output: String
    }

    private static func wrapped(_ page: String, width: Int, _ script: String) -> String {
        let attribute = page.replacing("&", with: "&amp;").replacing("\"", with: "&quot;")
        return """
            <!DOCTYPE html><meta charset="utf-8"><body style="margin:0"><pre id="result"></pre>
            <iframe width="\(width)" height="900" style="border:0" srcdoc="\(attribute)"></iframe>
            <script>
            const frame = document.querySelector("iframe");
            frame.addEventListener("load", () => {
              const page = frame.contentDocument;
              document.getElementById("result").textContent = (() => { \(script) })();
              frame.remove();
            });
            </script>
            """
    }
}

/// A folder that is removed with its content.
private final class TemporaryFolder {
    let path = FileManager.default.temporaryDirectory.appending(path: "liveupdate-\(UUID().uuidString)").path

    init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false) }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}

extension String {
    fileprivate func between(_ start: String, _ end: String) -> String? {
        guard let start = range(of: start), let end = range(of: end, range: start.upperBound..<endIndex) else {
            return nil
        }
        return String(self[start.upperBound..<end.lowerBound])
    }

    fileprivate var unescaped: String {
        [("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")].reduce(self) { $0.replacing($1.0, with: $1.1) }
    }
}
