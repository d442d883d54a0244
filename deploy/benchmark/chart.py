"""The results as bars: one group per case, one bar per way, as long as its median; ours stand out."""

from xml.sax.saxutils import escape

import cases
import ways

BAR, GAP, LEFT, WIDTH, RIGHT = 18, 30, 150, 560, 190
OURS, THEIRS, INK = "#1f6feb", "#a8b1bb", "#24292f"


def write(results, path):
    parts, y = [], 40
    for case in cases.CASES:
        if case.name not in results.runs:
            continue
        rows = list(results.rows(case))
        longest = max(row["seconds_median"] for row in rows)
        parts.append(text(12, y, escape(case.title), weight="bold"))
        y += 10
        for row in rows:
            length = max(1, row["seconds_median"] / longest * WIDTH)
            color = OURS if row["way"] in ways.OURS else THEIRS
            parts.append(text(LEFT - 8, y + BAR - 5, row["way"], anchor="end"))
            parts.append(f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR - 3}" fill="{color}"/>')
            label = f"{row['seconds_median']:.1f} s, {row['wire_bytes'] / (1 << 20):.0f} MiB"
            parts.append(text(LEFT + length + 6, y + BAR - 5, label))
            y += BAR
        y += GAP
    width = LEFT + WIDTH + RIGHT
    head = f"One disk of {results.disk['bytes'] / 1e9:.1f} GB, {results.disk['live_bytes'] / 1e9:.2f} GB of it live: median seconds, bytes on the wire"
    with open(path, "w") as file:
        file.write(
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{y}" font-family="sans-serif" font-size="12">'
            f'<rect width="100%" height="100%" fill="white"/>{text(12, 18, head)}{"".join(parts)}</svg>\n'
        )


def text(x, y, content, anchor="start", weight="normal"):
    return f'<text x="{x:.1f}" y="{y}" fill="{INK}" text-anchor="{anchor}" font-weight="{weight}">{content}</text>'
