import ArgumentParser
import LiveUpdateDevice

/// What all commands have in common that talk to `luod`.
struct DaemonOptions: ParsableArguments {
    @Option(help: "The state directory of luod. (default: $LUO_STATE, or /run/luo)")
    var state: String?

    func validate() throws {
        guard state != "" else { throw ValidationError("an empty path is no state") }
    }

    /// Connects, and does something there.
    func run(_ body: (LiveUpdateDevice) throws(LiveUpdateError) -> Void) throws {
        try Self.run(on: state, body)
    }

    /// The same, on a state that was found otherwise.
    static func run(on state: String?, _ body: (LiveUpdateDevice) throws(LiveUpdateError) -> Void) throws {
        let device: LiveUpdateDevice
        do {
            device = try LiveUpdateDevice(state: state)
        } catch {
            throw error.errno == .permissionDenied ? Exit.permission("\(error)") : Exit.unavailable("\(error)")
        }
        do throws(LiveUpdateError) {
            try body(device)
        } catch {
            throw Exit.failed(error)
        }
    }
}

extension Exit {
    /// 1, or 77 when it is the right that is missing, with the errno's name.
    static func failed(_ error: LiveUpdateError) -> ExitCode {
        let message = "\(error.errno.symbol): \(error)"
        return [.notPermitted, .permissionDenied].contains(error.errno) ? permission(message) : failed(message)
    }
}
