#!/usr/bin/env python3
"""Turns what a command printed into a picture of a terminal.

    cargo xtask run quickstart | python3 docs/images/text_to_svg.py 'cargo xtask run quickstart' > docs/images/quickstart.svg
"""

import sys
from xml.sax.saxutils import escape

WIDTH, HEIGHT, PAD = 8.4, 18, 18  # of a character, of a line, around all
PROMPT, TEXT, GOOD, BAD, PAPER = "#8fbcbb", "#e5e9f0", "#a3be8c", "#e06c75", "#242933"


def colour(line: str) -> str:
    word = line.split()[:1]
    return {"holds": GOOD, "FAILS": BAD, "$": PROMPT}.get(word[0] if word else "", TEXT)


lines = ["$ " + sys.argv[1], "", *sys.stdin.read().rstrip("\n").split("\n")]
w = round(max(map(len, lines)) * WIDTH + 2 * PAD)
h = len(lines) * HEIGHT + 2 * PAD
print(f'<svg xmlns="http://www.w3.org/2000/svg" width="{w}" height="{h}" viewBox="0 0 {w} {h}" role="img">')
print(f'<rect width="{w}" height="{h}" rx="8" fill="{PAPER}"/>')
print('<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, DejaVu Sans Mono, monospace" font-size="14">')
for i, line in enumerate(lines):
    if not line:
        continue
    y = PAD + i * HEIGHT + 13
    # A fixed length keeps the table's rules together in fonts of other widths.
    length = f'textLength="{len(line) * WIDTH:.1f}" lengthAdjust="spacingAndGlyphs"'
    # No-break spaces: browsers collapse others, whatever xml:space says.
    text = escape(line.replace(" ", "\u00a0"))
    print(f'<text x="{PAD}" y="{y}" fill="{colour(line)}" {length}>{text}</text>')
print("</g>\n</svg>")
