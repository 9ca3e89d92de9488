// SPDX-License-Identifier: Apache-2.0

/// The style of the page. Its colours are those of Okabe and Ito, which colour-blind people can tell apart. They are
/// darker or lighter here, so that text in them is readable on its background.
enum PageStyle {
    static let css = """
        :root {
          color-scheme: light dark;
          --page: #ffffff; --text: #1b1f23; --quiet: #57606a; --rule: #d5dae0; --panel: #f6f8fa;
          --ours: #0068a8; --floor: #b34a00; --other: #6b6f76; --warning: #fff4d6; --warning-rule: #b58100;
          --shade: #0000002e; --met: #00724f; --missed: #b3261e;
          --part0: #0068a8; --part1: #e69f00; --part2: #00805c; --part3: #b85c8f; --part4: #56b4e9; --part5: #8a8f98;
          --part6: #b34a00; --part7: #f0e442; --on6: #ffffff; --on7: #1b1f23;
          --on0: #ffffff; --on1: #1b1f23; --on2: #ffffff; --on3: #ffffff; --on4: #1b1f23; --on5: #1b1f23;
        }
        @media (prefers-color-scheme: dark) {
          :root {
            --page: #14171a; --text: #e6e9ec; --quiet: #a2abb4; --rule: #373e45; --panel: #1c2126;
            --ours: #6cbcf0; --floor: #f0a030; --other: #a9b0b8; --warning: #332a10; --warning-rule: #d9a520;
            --shade: #ffffff3d; --met: #4fcf9f; --missed: #ff8a80;
            --part0: #6cbcf0; --part1: #e69f00; --part2: #30b58a; --part3: #d68ab4; --part4: #24699c; --part5: #8a8f98;
            --part6: #e07b39; --part7: #f0e442; --on6: #14171a; --on7: #14171a;
            --on0: #14171a; --on2: #14171a; --on3: #14171a; --on4: #ffffff; --on1: #14171a; --on5: #14171a;
          }
        }
        * { box-sizing: border-box; }
        body {
          margin: 0 auto; padding: 16px; max-width: 1248px; background: var(--page); color: var(--text);
          font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere;
        }
        h1 { font-size: 1.75rem; line-height: 1.2; margin: 8px 0; }
        h2 { display: inline; font-size: 1.2rem; line-height: 1.3; margin: 0; }
        h3 { font-size: 1rem; margin: 24px 0 8px; color: var(--quiet); }
        p { margin: 4px 0 12px; max-width: 70ch; }
        a { color: var(--ours); }
        .headline { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 300px), 1fr)); gap: 16px;
          margin: 16px 0; }
        .headline > div { padding: 16px; background: var(--panel); border-radius: 8px; }
        .headline p { margin: 0; }
        .headline p + p.figure { margin-top: 12px; }
        .figure { font-size: 2rem; line-height: 1.2; font-weight: 700; color: var(--ours); }
        .figure.absent { color: var(--quiet); }
        .meaning { font-weight: 600; line-height: 1.35; }
        .comparison { font-size: .85rem; line-height: 1.4; color: var(--quiet); }
        nav ul { display: flex; flex-wrap: wrap; gap: 0 20px; margin: 16px 0; padding: 0; list-style: none; }
        nav a { display: inline-block; padding: 5px 0; }
        details { border-top: 1px solid var(--rule); }
        details:last-child { border-bottom: 1px solid var(--rule); }
        summary { padding: 12px 0; cursor: pointer; }
        summary::marker { color: var(--quiet); }
        .content { padding-bottom: 32px; scroll-margin-top: 104px; }
        dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 270px), 1fr)); gap: 8px 24px;
          margin: 16px 0; padding: 12px 16px; background: var(--panel); border-radius: 8px; }
        dt { font-size: .8rem; color: var(--quiet); }
        dd { margin: 0; }
        .warnings { background: var(--warning); border-left: 4px solid var(--warning-rule); padding: 8px 16px;
          max-width: none; }
        .content > ul { margin: 4px 0; padding-left: 20px; max-width: 70ch; }
        .figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 328px), 1fr)); gap: 32px 40px; }
        figure { margin: 0; min-width: 0; }
        figcaption { font-weight: 600; margin-bottom: 8px; }
        figcaption::first-letter { text-transform: uppercase; }
        svg { display: block; width: 100%; max-width: 420px; height: auto; font-family: system-ui, sans-serif; }
        .key, .note { font-size: .8rem; line-height: 1.4; color: var(--quiet); margin: 4px 0 8px; }
        .table { overflow-x: auto; margin: 8px 0;
          background: linear-gradient(to right, var(--page) 30%, transparent) left / 32px 100% no-repeat local,
            linear-gradient(to left, var(--page) 30%, transparent) right / 32px 100% no-repeat local,
            linear-gradient(to right, var(--shade), transparent) left / 12px 100% no-repeat scroll,
            linear-gradient(to left, var(--shade), transparent) right / 12px 100% no-repeat scroll; }
        table { border-collapse: collapse; font-size: .85rem; line-height: 1.35; font-variant-numeric: tabular-nums;
          overflow-wrap: break-word; }
        th, td { padding: 4px 10px 4px 0; text-align: right; vertical-align: top; white-space: nowrap;
          border-bottom: 1px solid var(--rule); }
        th:last-child, td:last-child { padding-right: 0; }
        thead th { color: var(--quiet); font-weight: 400; vertical-align: bottom; white-space: normal; overflow-wrap: normal; }
        th:first-child { text-align: left; }
        tbody th { font-weight: 400; white-space: normal; min-width: 7em; }
        .words th, .words td { text-align: left; white-space: normal; min-width: 10em; }
        td small, th small { display: block; color: var(--quiet); }
        .met { color: var(--met); }
        .missed { color: var(--missed); font-weight: 600; }
        footer { margin-top: 24px; color: var(--quiet); font-size: .85rem; }
        pre { background: var(--panel); padding: 12px; border-radius: 8px; white-space: pre-wrap; margin: 4px 0 12px; }
        .label { font-size: 11px; fill: var(--text); }
        .quiet { fill: var(--quiet); }
        .strong { font-weight: 600; }
        .grid { stroke: var(--rule); stroke-width: 1; }
        .axis { stroke: var(--quiet); stroke-width: 1; }
        .line { fill: none; stroke-width: 2; }
        .line.floor { stroke-dasharray: 5 3; }
        .whisker { stroke-width: 1.5; }
        .box { stroke-width: 6; opacity: .55; }
        .mark { stroke: var(--page); stroke-width: 1; }
        .line.ours, .whisker.ours, .box.ours { stroke: var(--ours); }
        .line.floor, .whisker.floor, .box.floor { stroke: var(--floor); }
        .mark.ours, .label.ours { fill: var(--ours); }
        .mark.floor, .label.floor { fill: var(--floor); }
        .mark.other { fill: var(--other); }
        .mark.projected { fill: var(--page); stroke: var(--ours); stroke-width: 1.5; }
        .part { stroke: var(--page); stroke-width: 1; }
        \((0..<StackedChart.colours).map { n in
            ".part.part\(n) { fill: var(--part\(n)); } .inside.part\(n) { fill: var(--on\(n)); }"
        }.joined(separator: "\n"))
        @media (min-width: 800px) {
          .figures > figure:only-child { grid-column: 1 / -1; display: grid; column-gap: 40px;
            grid-template-columns: minmax(0, 420px) minmax(0, 1fr); }
          .figures > figure:only-child > figcaption { grid-column: 1 / -1; }
          .figures > figure:only-child .table { margin-top: 0; }
        }
        @media print {
          body { max-width: none; }
          figure { break-inside: avoid; }
          details::details-content { content-visibility: visible; }
        }
        """
}
