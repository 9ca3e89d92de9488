// SPDX-License-Identifier: Apache-2.0

/// The version of this package, as `luoctl --version` prints it.
package let packageVersion = "0.1.0"
