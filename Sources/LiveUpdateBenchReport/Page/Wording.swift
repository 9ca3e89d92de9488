// SPDX-License-Identifier: Apache-2.0

/// The title and the introduction of a scenario.
struct Wording {
    let title: String
    let introduction: String

    static func of(_ scenario: String) -> Wording {
        switch scenario {
        case "hugetlb":
            Wording(
                title: "Huge pages",
                introduction: "What each phase of keeping memory files on huge pages takes, and the floor beside it.")
        case "memfd":
            Wording(
                title: "Memory files on ordinary pages",
                introduction: "The same for memfds: dense, sparse, and with one page in two.")
        case "files":
            Wording(title: "One more file", introduction: "The cost of one more file when there are so many already.")
        case "sessions":
            Wording(
                title: "One more session", introduction: "The cost of one more session when there are so many already.")
        case "update":
            Wording(
                title: "The blackout",
                introduction: "From the first freeze to the first answer of the next boot: no client is served.")
        case "run":
            Wording(
                title: "Programs under luoctl run",
                introduction: "What calls of a program that was written for /dev/liveupdate take, in notifications.")
        case "verify":
            Wording(
                title: "Verifying", introduction: "CRC32C of preserved memory, and plainly reading it as the floor.")
        case "compare":
            Wording(
                title: "What people use instead",
                introduction: "The same memory, in the same run, with what people use instead. "
                    + "Each does something else besides; the notes say what.")
        default: Wording(title: scenario, introduction: "")
        }
    }
}
