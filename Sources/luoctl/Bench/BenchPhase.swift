// SPDX-License-Identifier: Apache-2.0

/// The phases in the life of a preserved file, in order. A floor prints its times in the same order.
enum BenchPhase: String, CaseIterable {
    case preserve, freeze, publish, boot, retrieve, finish, unpreserve
}
