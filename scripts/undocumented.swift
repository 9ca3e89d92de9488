// SPDX-License-Identifier: Apache-2.0

// undocumented FILE...: lists the public declarations in symbol graphs that have no comment of their own. The exit
// status is 1 if there are any.

import Foundation

struct SymbolGraph: Decodable {
    struct Symbol: Decodable {
        struct Identifier: Decodable { let precise: String }
        struct Kind: Decodable { let identifier: String }
        struct Comment: Decodable {}
        struct Location: Decodable {
            struct Position: Decodable { let line: Int }
            let uri: String
            let position: Position
        }
        let identifier: Identifier
        let kind: Kind
        let pathComponents: [String]
        let docComment: Comment?
        let location: Location?
    }
    struct Relationship: Decodable {
        struct Origin: Decodable {}
        let source: String
        /// The declaration that gives its comment to the source, which is a witness of it or was synthesized from it.
        let sourceOrigin: Origin?
    }
    let symbols: [Symbol]
    let relationships: [Relationship]
}

var faults: Set<String> = []
var count = 0
for path in CommandLine.arguments.dropFirst() {
    let graph = try JSONDecoder().decode(SymbolGraph.self, from: Data(contentsOf: URL(fileURLWithPath: path)))
    let inherited = Set(graph.relationships.filter { $0.sourceOrigin != nil }.map(\.source))
    for symbol in graph.symbols where symbol.kind.identifier != "swift.extension" {
        count += 1
        guard symbol.docComment == nil, !inherited.contains(symbol.identifier.precise) else { continue }
        let place = symbol.location.map { "\(URL(string: $0.uri)?.path ?? $0.uri):\($0.position.line + 1)" } ?? path
        faults.insert("\(place): \(symbol.pathComponents.joined(separator: ".")) has no comment")
    }
}
guard count > 0 else {
    print("undocumented: no symbols: were the graphs written?")
    exit(1)
}
for fault in faults.sorted() { print(fault) }
print("undocumented: \(faults.count) of \(count) public declarations")
exit(faults.isEmpty ? 0 : 1)
