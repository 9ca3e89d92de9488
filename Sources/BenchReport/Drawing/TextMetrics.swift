/// How much room a label needs, in whatever font a reader has: rather too much than too little.
enum TextMetrics {
    /// Of all labels, in units of the drawing.
    static let size = 11.0
    /// From one line of text to the next.
    static let lineHeight = 14.0
    /// The part of a line above its baseline, and the one below.
    static let ascent = 10.0
    static let descent = 3.0

    static func width(_ text: String) -> Double {
        text.unicodeScalars.reduce(0) { $0 + width($1) } * size
    }

    /// As much of a text as fits, with an ellipsis where something is missing.
    static func fitted(_ text: String, into room: Double) -> String {
        if width(text) <= room { return text }
        var shortened = text
        while !shortened.isEmpty, width(shortened + "…") > room { shortened.removeLast() }
        return shortened.isEmpty ? "" : shortened + "…"
    }

    /// In units of the font's size: as in DejaVu Sans, which is among the widest.
    private static func width(_ scalar: Unicode.Scalar) -> Double {
        switch scalar {
        case "i", "j", "l", "I", "|", "'", ".", ",", ":", ";", " ": 0.36
        case "f", "t", "r", "(", ")", "[", "]", "/", "-": 0.45
        case "m", "w", "M", "W", "%", "@", "…": 1.0
        case "a"..."z", "0"..."9": 0.65
        // Other alphabets may be as wide as they are high.
        default: scalar.isASCII || scalar == "µ" || scalar == "·" ? 0.8 : 1.0
        }
    }
}
