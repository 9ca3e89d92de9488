// SPDX-License-Identifier: Apache-2.0

// For SessionName.
@_exported public import LiveUpdateCore
