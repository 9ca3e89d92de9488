// SPDX-License-Identifier: Apache-2.0

/// The actions that a step of an update machine asks for, in the order in which they are performed.
///
/// The list is stored in place. A step in the blackout allocates no memory for it.
package struct ActionList<Action: Equatable & Sendable>: Equatable, Sendable, Sequence {
    /// The actions. No step asks for more of them.
    private var actions = InlineArray<6, Action?>(repeating: nil)
    /// The number of actions.
    package private(set) var count = 0

    /// An empty list: the event was ignored.
    package init() {}

    /// One action.
    package init(_ action: Action) { append(action) }

    /// Two actions.
    package init(_ first: Action, _ second: Action) {
        append(first)
        append(second)
    }

    package mutating func append(_ action: Action) {
        precondition(count < 6, "a step of an update with more than 6 actions")
        actions[count] = action
        count += 1
    }

    package var isEmpty: Bool { count == 0 }

    package static func == (one: Self, other: Self) -> Bool { one.elementsEqual(other) }

    /// Goes through the actions of a list.
    package struct Iterator: IteratorProtocol {
        fileprivate let list: ActionList
        private var index = 0

        fileprivate init(_ list: ActionList) { self.list = list }

        package mutating func next() -> Action? {
            guard index < list.count else { return nil }
            defer { index += 1 }
            return list.actions[index]
        }
    }

    package func makeIterator() -> Iterator { Iterator(self) }
}
