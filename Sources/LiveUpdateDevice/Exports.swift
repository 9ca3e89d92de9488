// SPDX-License-Identifier: Apache-2.0

// LiveUpdateError, and the owned descriptors that calls return.
@_exported public import LiveUpdate
@_exported public import Platform
