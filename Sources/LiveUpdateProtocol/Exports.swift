// For SessionName.
@_exported public import LiveUpdate
