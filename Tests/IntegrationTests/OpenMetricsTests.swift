// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import luoctl

/// The text of metrics, as values.
@Suite struct OpenMetricsTests {
    @Test("A family has its type, its unit, its help, and a line for each value") func family() {
        var family = MetricFamily("luod_x_bytes", "Some \"bytes\".", unit: "bytes")
        #expect(family.text.isEmpty, "a family without a value")
        family.add(3, ["user": "7", "node": ""])
        family.add(0.5, ["name": "a\"b\\c\nd"])
        #expect(
            family.text == """
                # TYPE luod_x_bytes gauge
                # UNIT luod_x_bytes bytes
                # HELP luod_x_bytes Some \\"bytes\\".
                luod_x_bytes{user="7"} 3
                luod_x_bytes{name="a\\"b\\\\c\\nd"} 0.5

                """)
    }

    @Test("A counter's values end with _total") func counter() {
        var family = MetricFamily("luod_deaths", "Deaths.", as: .counter)
        family.add(1)
        #expect(family.text.hasSuffix("\nluod_deaths_total 1\n"))
    }

    @Test(
        "Numbers without a point where they have none",
        arguments: [(0, "0"), (1e15, "1000000000000000"), (0.0005, "0.0005"), (1e300, "1e+300"), (.infinity, "+Inf")])
    func numbers(value: Double, text: String) { #expect(MetricFamily.number(value) == text) }
}
