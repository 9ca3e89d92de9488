// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import LiveUpdatePlatform

/// The program of the next luod.
struct ImageArgument: ParsableArguments {
    @Argument(help: "The program of the next luod. (default: the one that is loaded, or else that runs, as it is now)")
    var image: String?

    func validate() throws {
        guard image != "" else { throw ValidationError("an empty path is no program") }
    }

    /// The absolute path, because luod runs in a directory of its own. Empty for the default.
    var path: String {
        guard let image else { return "" }
        return absolutePath(image)
    }
}
