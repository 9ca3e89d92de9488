// SPDX-License-Identifier: Apache-2.0

// A program that updates itself needs no other import.
@_exported public import LiveUpdate
@_exported public import LiveUpdateHandlers
