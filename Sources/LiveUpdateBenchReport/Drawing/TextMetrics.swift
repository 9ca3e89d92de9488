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

    /// As much of a text as fits. An ellipsis stands for the missing part.
    static func fitted(_ text: String, into room: Double) -> String {
        if width(text) <= room { return text }
        var shortened = text
        while !shortened.isEmpty, width(shortened + "…") > room { shortened.removeLast() }
        return shortened.isEmpty ? "" : shortened + "…"
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
