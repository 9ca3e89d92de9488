// SPDX-License-Identifier: Apache-2.0
import LiveUpdateBenchReport
import TestSupport
import Testing

@Suite("The page in a browser", .requiresChromium, .serialized)
struct BrowserTests {
    /// Measures by how much the page is wider than its window, folded and unfolded, and finds labels that overlap,
    /// cover a line of an axis or are cut off, with the font of the browser.
    private static let script = """
        const root = page.documentElement;
        const faults = [];
        const width = () => {
          if (root.scrollWidth > root.clientWidth) faults.push(`wide: ${root.scrollWidth} > ${root.clientWidth}`);
        };
        width();
        const folds = [...page.querySelectorAll("details")];
        folds.forEach((fold) => { fold.open = true; });
        if (folds.length) width();
        for (const svg of page.querySelectorAll("svg")) {
          const boxes = [...svg.querySelectorAll("text")].map((text) => {
            const box = text.getBBox();
            // Ascent and descent of the font's box are more than its letters need.
            return { name: text.textContent, isInside: text.classList.contains("inside"), left: box.x, right: box.x + box.width,
              top: box.y + box.height * 0.2, bottom: box.y + box.height * 0.9 };
          });
          const view = svg.viewBox.baseVal;
          const lines = [...svg.querySelectorAll("line.grid, line.axis")].map((line) => line.getBBox());
          boxes.forEach((one, index) => {
            for (const line of lines)
              if (!one.isInside && one.left <= line.x + line.width && line.x <= one.right
                && one.top <= line.y + line.height && line.y <= one.bottom) faults.push(`${one.name} covers a line`);

            if (one.left < -0.5 || one.right > view.width + 0.5 || one.top < -0.5 || one.bottom > view.height + 0.5)
              faults.push(`cut off: ${one.name}`);
            for (const other of boxes.slice(index + 1))
              if (one.left < other.right && other.left < one.right && one.top < other.bottom && other.top < one.bottom)
                faults.push(`${one.name} covers ${other.name}`);
          });
        }
        faults.push(`pictures: ${page.querySelectorAll("svg").length}`);
        faults.push(`background: ${getComputedStyle(page.body).backgroundColor}`);
        return faults.join("\\n");
        """

    @Test(
        "On a phone and on a desktop, in light and in dark, without a fault",
        arguments: [(360, false), (1280, false), (360, true), (1280, true)])
    func renders(_ width: Int, _ dark: Bool) throws {
        let look = try Chromium.look(at: BenchPage(BenchSamples.full()).html, width: width, dark: dark, Self.script)
        let lines: [Substring] = look.result.split(separator: "\n")
        #expect(lines.count == 2, "\(look.result)")
        #expect(lines.first != "pictures: 0")
        #expect(lines.last == (dark ? "background: rgb(20, 23, 26)" : "background: rgb(255, 255, 255)"))
        #expect(look.complaints == [])
    }

    @Test(
        "On a phone, the folded page is at most 6,000 pixels high",
        arguments: [("full", 360), ("full", 390), ("many", 390)])
    func height(_ name: String, _ width: Int) throws {
        let document = try #require(OddDocuments.all.first { $0.name == name }?.document)
        let look = try Chromium.look(
            at: BenchPage(document).html, width: width, "return page.documentElement.scrollHeight")
        let height = try #require(Int(look.result))
        #expect(height > 500 && height <= 6_000, "\(height)")
    }

    @Test("A link of the contents opens its fold, without a script in the page")
    func links() throws {
        let script = """
            return [...page.querySelectorAll("nav a")].map((link) => {
              const fold = page.getElementById(link.hash.slice(1)).closest("details");
              const before = fold.open;
              page.defaultView.location.hash = link.hash;
              const summary = fold.querySelector("summary").getBoundingClientRect();
              return `${before} ${fold.open} ${summary.top >= 0 && summary.bottom <= page.defaultView.innerHeight}`;
            }).join("\\n");
            """
        let look = try Chromium.look(at: BenchPage(BenchSamples.full()).html, width: 390, script)
        let lines: [Substring] = look.result.split(separator: "\n")
        #expect(lines.count > 8 && lines.allSatisfy { $0 == "false true true" }, "\(look.result)")
        #expect(look.complaints == [])
    }

    @Test("Odd documents have no fault either", arguments: OddDocuments.all.map(\.name), [360, 1280])
    func oddDocuments(_ name: String, _ width: Int) throws {
        let document = try #require(OddDocuments.all.first { $0.name == name }?.document)
        let look = try Chromium.look(at: BenchPage(document).html, width: width, Self.script)
        #expect(look.result.split(separator: "\n").count == 2, "\(look.result)")
        #expect(look.complaints == [])
    }

    @Test("The test of the page finds faults")
    func faults() throws {
        let page = """
            <!DOCTYPE html><body><div style="width:500px">wide</div><script src="http://127.0.0.1:1/x.js"></script>
            <svg viewBox="0 0 90 20"><text x="0" y="15">one</text><text x="9" y="15">two</text></svg>
            <svg viewBox="0 0 90 20"><line x1="9" y1="0" x2="9" y2="20" class="grid"/><text y="15">three</text></svg>
            """
        let look = try Chromium.look(at: page, width: 360, Self.script)
        #expect(look.result.contains("wide: 508 > 360"), "\(look.result)")
        #expect(look.result.contains("one covers two") && look.result.contains("three covers a line"))
        let complaint = try Chromium.look(
            at: "<!DOCTYPE html><script>throw new Error('broken')</script>", width: 360, Self.script)
        #expect(complaint.complaints.count == 1)
    }
}
