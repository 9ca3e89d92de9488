public import LiveUpdate
public import SystemPackage

/// What a call threw; nil when it worked.
public func failure<Value>(_ body: () throws -> Value) -> LiveUpdateError? {
    do {
        _ = try body()
        return nil
    } catch let error as LiveUpdateError {
        return error
    } catch {
        return LiveUpdateError(Errno(rawValue: -1), "another kind of error: \(error)")
    }
}

/// The number of what a call threw; nil when it worked.
public func errno<Value>(_ body: () throws -> Value) -> Errno? { failure(body)?.errno }
