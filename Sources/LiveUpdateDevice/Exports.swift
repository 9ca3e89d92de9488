// SPDX-License-Identifier: Apache-2.0

// LiveUpdateError, and the owned descriptors that calls return.
@_exported public import LiveUpdateCore
@_exported public import LiveUpdatePlatform
