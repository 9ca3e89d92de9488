// SPDX-License-Identifier: Apache-2.0

// A program that updates itself needs no other import.
@_exported public import LiveUpdateCore
@_exported public import LiveUpdateHandlers
