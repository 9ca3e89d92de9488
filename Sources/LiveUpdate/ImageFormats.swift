// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage

/// The question to an image which formats it knows. An image that is started with `LUO_FORMATS=1` prints a first line
/// that no program prints by chance, then its formats, one in each line, and ends.
enum ImageFormats {
    private static let variable = "LUO_FORMATS"
    private static let firstLine = "liveupdate formats 1"

    /// Answers in the image, if it was asked, and does not return then.
    static func answerIfAsked(
        _ options: Arena.Options, _ register: (Orchestrator) throws(LiveUpdateError) -> Void
    ) throws(LiveUpdateError) {
        guard takeEnvironmentVariable(variable) != nil else { return }
        var options = options
        options.probe = nil
        let orchestrator = Orchestrator(arena: try UpdatableProcess.make(options), descriptors: InheritedDescriptors())
        try register(orchestrator)
        let lines = [firstLine] + (try orchestrator.knownFormats())
        print(lines.joined(separator: "\n"))
        exit(0)
    }

    static func ask(_ image: ProgramImage) throws(LiveUpdateError) -> Set<String> {
        let child: ChildProcess
        do {
            child = try ChildProcess.start(
                image.setting(variable, "1").setting(UpdatableProcess.variable, nil)
                    .setting(WaitingImage.variable, nil))
        } catch {
            throw LiveUpdateError(error, "asking \(image.path) for the formats that it knows")
        }
        let answer = child.readOutput(within: 5000)
        // The image is not waited for: nothing that it does after its answer is needed.
        child.kill()
        child.finish()
        let lines = (answer ?? "").split(separator: "\n").map(String.init)
        guard let start = lines.firstIndex(of: firstLine) else {
            throw LiveUpdateError(
                .notSupported, "\(image.path) did not say which formats it knows",
                remedy:
                    "does it use this library? Its UpdatableProcess must begin before anything that waits or ends the process"
            )
        }
        return Set(lines[(start + 1)...])
    }
}
