// SPDX-License-Identifier: Apache-2.0
import TestSupport
import Testing

@testable import LiveUpdateBenchReport

@Suite("The page")
struct PageTests {
    private static func pictures(_ html: String) -> [Substring] {
        html.matches(of: /<svg(?s:.*?)<\/svg>/).map { $0.output }
    }

    @Test("No label covers another or a line of an axis, or is cut off", arguments: OddDocuments.all.map(\.name))
    func labels(_ name: String) throws {
        let document = try #require(OddDocuments.all.first { $0.name == name }?.document)
        for picture in Self.pictures(BenchPage(document).html) {
            #expect(Label.faults(in: picture) == [], "\(picture.prefix(120))")
        }
    }

    @Test("The test of labels finds faults")
    func faults() {
        var drawing = Drawing(width: 100, height: 60)
        drawing.text(10, 20, .start, "label", "one")
        drawing.text(20, 25, .start, "label", "two")
        drawing.text(99, 58, .start, "label", "cut")
        drawing.text(10, 50, .start, "label", "line")
        drawing.text(60, 20, .start, "label inside part0", "bar")
        drawing.line(15, 45, 15, 58, "grid")
        drawing.line(65, 0, 65, 38, "grid")
        #expect(Label.faults(in: drawing.svg(description: "")[...]).count == 3)
    }

    @Test("Each measurement is on the page")
    func content() {
        let document = BenchSamples.full()
        let html = BenchPage(document).html
        for words in [
            "AMD EPYC 9554", "6.18.0", "yes: KVM", "differences below 20 % mean nothing", "2,048 of 2 MiB", "214 s",
            "Projected, not measured", "apt-get install criu", "luoctl bench --html &#39;my report.html&#39;",
            "memcpy, fresh, 1 GiB", "also supervises the service", "≤ 1.50×", "system calls",
        ] { #expect(html.contains(words), "\(words)") }
        #expect(Self.pictures(html).count > 20)
    }

    @Test("The page begins with the three figures; the rest is folded, and the contents lead to each part of it")
    func folds() throws {
        for (name, document) in OddDocuments.all {
            let html = BenchPage(document).html
            let fold = try #require(html.firstRange(of: "<details>"), "\(name)")
            let top = html[..<fold.lowerBound]
            for line in Headline(document).lines {
                #expect(top.contains((line.figure ?? "–").escaped) && top.contains(line.meaning.escaped), "\(name)")
                #expect(top.contains(line.comparison.escaped), "\(name)")
            }
            #expect(!top.contains("<svg") && !top.contains("<table") && !html.contains("<details open"), "\(name)")
            // A link opens a fold only if it leads to an element inside.
            let links = top.matches(of: /<li><a href="#([^"]*)">/).map(\.output.1)
            let parts = html.matches(of: /<details><summary><h2>[^<]*<\/h2><\/summary><div id="([^"]*)"/).map(
                \.output.1)
            #expect(links == parts && !links.isEmpty, "\(name)")
        }
    }

    @Test("Names are wrapped, and not cut")
    func longNames() throws {
        let document = try #require(OddDocuments.all.first { $0.name == "long names" }?.document)
        let pictures = Self.pictures(BenchPage(document).html)
        #expect(!pictures.isEmpty)
        for picture in pictures {
            let labels = Label.all(in: picture).map(\.text)
            #expect(!labels.contains { $0.contains("…") })
            let names = labels.joined(separator: " ")
            for word in ["telephone", "WWWWWWWWWWMMMMMMMMMM"] where names.contains("much longer") {
                #expect(names.contains(word), "\(names)")
            }
        }
        #expect(TextMetrics.wrapped("", into: 50) == [""])
        #expect(TextMetrics.wrapped("one two three", into: TextMetrics.width("one two")) == ["one two", "three"])
        #expect(TextMetrics.wrapped("a oneone", into: TextMetrics.width("one")) == ["a", "one", "one"])
        #expect(TextMetrics.wrapped("WW", into: 1) == ["W", "W"])
    }

    @Test("Times of other tools are compared with ours of the same rounds")
    func compared() {
        var document = BenchSamples.empty()
        document.measurements = [("liveupdate", 100.0), ("memcpy, fresh", 300), ("liveupdate", 200), ("criu", 1_000)]
            .map { BenchSamples.measurement("compare", $0, ["bytes": 1 << 20], $1) }
        let html = BenchPage(document).html
        #expect(
            html.contains(
                "1 MiB: liveupdate 100 ns , memcpy, fresh 300 ns 3.00×. 1 MiB: liveupdate 200 ns , criu 1.00 µs 5.00×"))
    }

    @Test("Each picture says what it shows, and has a table below it")
    func accessibility() {
        let html = BenchPage(BenchSamples.full()).html
        let figures = html.matches(of: /<figure>(?s:.*?)<\/figure>/)
        #expect(figures.count == Self.pictures(html).count)
        for figure in figures {
            #expect(
                figure.output.contains(/<svg role="img" aria-label="[^"]+" viewBox="[^"]*" xmlns="[^"]*"><title>[^<]+/))
            #expect(figure.output.contains("<table"))
        }
    }

    @Test("No string breaks out of its place, and the page loads nothing from elsewhere")
    func escaping() {
        for (name, document) in OddDocuments.all {
            let html = BenchPage(document).html
            #expect(!html.contains("<script"), "\(name)")
            #expect(!html.contains("\" onload="), "\(name)")
            #expect(!html.contains("\u{0}"), "\(name)")
            #expect(!html.contains("src="), "\(name)")
            #expect(!html.contains("url("), "\(name)")
            #expect(!html.contains("@import"), "\(name)")
            #expect(!html.contains("nan") && !html.contains("inf\""), "\(name)")
        }
        #expect(BenchPage(OddDocuments.hostile).html.contains("&lt;script&gt;alert(&#39;x&#39;)"))
    }

    @Test("A measurement that cannot be drawn is named, and its figures are shown")
    func undrawable() {
        var document = BenchSamples.empty()
        document.measurements = [BenchSamples.measurement("files", "one more", ["files": 10], -20)]
        let html = BenchPage(document).html
        #expect(Self.pictures(html).isEmpty)
        #expect(html.contains("No picture"))
        #expect(html.contains("−20"))
    }

    @Test("A missed limit is named")
    func limits() {
        var document = BenchSamples.empty()
        let cases = [(1.4, true, true), (1.6, true, false), (1.6, false, true), (1.4, false, false)]
        for (value, isUpperLimit, isMet) in cases {
            document.targets = [
                BenchTarget(scenario: "update", name: "it takes", value: value, limit: 1.5, isUpperLimit: isUpperLimit)
            ]
            let html = BenchPage(document).html
            #expect(html.contains("✓ met") == isMet && html.contains("✗ missed") == !isMet)
            #expect(html.contains("Promised and reached: 1 of 1 missed") == !isMet)
        }
        document.targets = [BenchTarget(scenario: "update", name: "x", value: 1.5031, limit: 1.5)]
        #expect(BenchPage(document).html.contains("1.5031×"))
    }

    @Test("The blackout's parts are stacked; other measurements have pictures of their own")
    func parts() {
        var document = BenchSamples.empty()
        let parameters: [String: UInt64] = ["files": 1]
        document.measurements = [("blackout", 100.0), ("freeze", 60), ("boot", 30), ("cycle", 120)]
            .map { BenchSamples.measurement("update", $0, parameters, $1) }
        let html = BenchPage(document).html
        #expect(html.contains("Parts of the blackout. execve: 1 file: freeze 60 ns, boot 30 ns, rest 10 ns"))
        #expect(html.contains("cycle, 1 file: ours median 120 ns"))
        // Without the whole blackout they are no parts, but they are still shown.
        document.measurements.removeFirst()
        #expect(BenchPage(document).html.contains("freeze, 1 file: ours median 60 ns"))
    }

    @Test(
        "Each blackout has its own parts: that of execve, of a hand-over, and of luod with and without a loaded image")
    func partsOfOthers() {
        var document = BenchSamples.empty()
        let parameters: [String: UInt64] = ["files": 1]
        document.measurements = [
            ("blackout", 100.0), ("boot", 90), ("luod: blackout", 50), ("luod: publish", 40),
            ("luod, loaded: blackout", 30), ("luod, loaded: publish", 20), ("luod: whole update", 70),
            ("hand-over: blackout", 9), ("hand-over: take over", 8),
        ].map { BenchSamples.measurement("update", $0, parameters, $1) }
        let html = BenchPage(document).html
        #expect(
            html.contains(
                "Parts of the blackout. execve: 1 file: boot 90 ns, rest 10 ns. luod: 1 file: publish 40 ns, rest 10 ns. "
                    + "luod, loaded: 1 file: publish 20 ns, rest 10 ns. hand-over: 1 file: take over 8 ns, rest 1 ns"))
        #expect(html.contains("luod: whole update, 1 file: ours median 70 ns"))
    }

    @Test("Bytes that grow with the number of files make a line by files")
    func each() {
        let measurements = [1, 253].map {
            BenchSamples.measurement("update", "cycle", ["files": $0, "bytes": 4096 * $0], 1)
        }
        #expect(Sweep.along("files", in: measurements).isEmpty)
        #expect(Sweep.along("files", each: "bytes", in: measurements).map(\.fixed) == [["bytes each": 4096]])
        #expect(ScenarioSection.groups(measurements).map(\.heading) == ["4 KiB each, by number of files"])
    }

    @Test("A measurement that belongs to no line is drawn once, on its own")
    func single() {
        let sweeps = Sweep.along(
            "bytes",
            in: [
                BenchSamples.measurement("hugetlb", "boot", ["bytes": 4, "files": 1], 1),
                BenchSamples.measurement("hugetlb", "boot", ["bytes": 2, "files": 1], 1),
                BenchSamples.measurement("hugetlb", "boot", ["bytes": 2, "files": 9], 1),
                BenchSamples.measurement("hugetlb", "freeze", ["bytes": 2, "files": 1], 1),
            ])
        #expect(sweeps.map { $0.measurements.map { $0.parameters["bytes"] } } == [[2, 4]])
    }
}
