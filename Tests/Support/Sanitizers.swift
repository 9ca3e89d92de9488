// SPDX-License-Identifier: Apache-2.0
import Glibc

/// Whether the tests run under ThreadSanitizer. It takes clone(2) for fork(2), and its memory leaves no room for a
/// mapping of terabytes.
package var isThreadSanitized: Bool { unsafe dlsym(nil, "__tsan_acquire") != nil }
