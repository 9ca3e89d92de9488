// SPDX-License-Identifier: Apache-2.0

// The declarations of this module use these modules. A program that imports this module, to write a handler for
// example, gets them too.
@_exported public import LiveUpdateHandover
@_exported public import LiveUpdatePlatform
@_exported public import SystemPackage
