// SPDX-License-Identifier: Apache-2.0

/// Estimates the room that a label needs in any font. The estimates are rather too large than too small.
enum TextMetrics {
    /// The font size of all labels, in units of the drawing.
    static let size = 11.0
    /// The distance from one line of text to the next.
    static let lineHeight = 14.0
    /// The parts of a line above and below its baseline.
    static let ascent = 10.0
    static let descent = 3.0

    static func width(_ text: String) -> Double {
        text.unicodeScalars.reduce(0) { $0 + width($1) } * size
    }

    /// A text in lines that fit. Lines end between words; a word that is wider than a line ends inside.
    static func wrapped(_ text: String, into room: Double) -> [String] {
        var lines = [""]
        for word in text.split(separator: " ").flatMap({ pieces(of: String($0), into: room) }) {
            let line = lines[lines.count - 1]
            if line.isEmpty || width("\(line) \(word)") <= room {
                lines[lines.count - 1] = line.isEmpty ? word : "\(line) \(word)"
            } else {
                lines.append(word)
            }
        }
        return lines
    }

    /// The parts of a word that fit into a line. Each has at least one character.
    private static func pieces(of word: String, into room: Double) -> [String] {
        word.reduce(into: [""]) { pieces, character in
            let last = pieces[pieces.count - 1]
            if last.isEmpty || width(last + String(character)) <= room {
                pieces[pieces.count - 1].append(character)
            } else {
                pieces.append(String(character))
            }
        }
    }

    /// The width in units of the font size, as in DejaVu Sans, one of the widest fonts.
    private static func width(_ scalar: Unicode.Scalar) -> Double {
        switch scalar {
        case "i", "j", "l", "I", "|", "'", ".", ",", ":", ";", " ": 0.36
        case "f", "t", "r", "(", ")", "[", "]", "/", "-": 0.45
        case "m", "w", "M", "W", "%", "@", "…": 1.0
        case "a"..."z", "0"..."9": 0.65
        // Characters of other alphabets may be as wide as they are high.
        default: scalar.isASCII || scalar == "µ" || scalar == "·" ? 0.8 : 1.0
        }
    }
}
