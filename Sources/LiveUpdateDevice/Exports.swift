// LiveUpdateError, and the owned descriptors that come back.
@_exported public import LiveUpdate
@_exported public import Platform
