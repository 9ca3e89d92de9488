/// The version of this package, as `luoctl --version` prints it.
public let packageVersion = "0.1.0"
