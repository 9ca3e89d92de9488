// All that a program needs which updates itself: this one import.
@_exported public import LiveUpdate
@_exported public import LiveUpdateHandlers
