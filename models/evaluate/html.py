"""Build the HTML of a report: one self-contained page of numbers, pictures and text. Knows nothing of models.

Every number of metrics.json is a <data> element with its key and the exact value as attributes; the text is rounded.
"""

import base64
import html
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

STYLE = """
:root { color-scheme: light dark; --ink: #1c1e21; --dim: #5d6370; --page: #f6f6f4; --panel: #ffffff; --line: #dcdcd8; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8e6; --dim: #a3a8b3; --page: #16181b; --panel: #1f2226; --line: #383c42; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.7rem; margin: .6rem 0 0; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; }
p { margin: .4rem 0; }
.dim, figcaption, td:last-child, .digest { color: var(--dim); font-size: .9rem; }
.digest, code { overflow-wrap: anywhere; font-family: ui-monospace, monospace; font-size: .85rem; }
nav { display: flex; flex-wrap: wrap; gap: .3rem .9rem; margin: .8rem 0; font-size: .9rem; }
nav a, a { color: inherit; }
table { width: 100%; border-collapse: collapse; background: var(--panel); border: 1px solid var(--line); }
td, th { text-align: left; vertical-align: top; padding: .4rem .6rem; border-top: 1px solid var(--line); font-weight: normal; }
td:nth-child(2) { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; font-weight: 600; }
table.matrix { display: block; overflow-x: auto; }
table.matrix td { text-align: right; font-variant-numeric: tabular-nums; font-weight: normal; color: inherit; }
table.matrix th, table.matrix td { font-size: .85rem; white-space: nowrap; }
figure { margin: 1rem 0; padding: .6rem; background: var(--panel); border: 1px solid var(--line); }
figure img { display: block; width: 100%; height: auto; background: #ffffff; }
figure img.pixels { image-rendering: pixelated; background: #000000; }
figcaption { margin-top: .5rem; }
@media (max-width: 40rem) {
  table, tbody, tr, th, td { display: block; border: 0; padding: 0; }
  table { border: 1px solid var(--line); }
  table.matrix tbody { display: table; }
  table.matrix tr { display: table-row; }
  table.matrix th, table.matrix td { display: table-cell; padding: .2rem .4rem; }
  tr { display: grid; grid-template-columns: 1fr auto; gap: 0 .8rem; padding: .5rem .6rem; border-top: 1px solid var(--line); }
  td:last-child { grid-column: 1 / -1; }
  main { padding: .6rem; }
  figure { padding: .3rem; }
}
"""
# The browser must not load anything from outside the page.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
MEDIA_TYPES = {".png": "image/png", ".webp": "image/webp"}


def look_up(metrics: Mapping[str, Any], key: str) -> Any:
    """Return the value at a path such as "a.b" in nested objects."""
    value: Any = metrics
    for name in key.split("."):
        value = value[name]
    return value


def rounded(value: float, digits: int = 2, percent: bool = False) -> str:
    """Format a number for readers."""
    if not math.isfinite(value):
        return "no finite value"
    if isinstance(value, int):
        return str(value)
    return f"{100 * value:.{digits}f} %" if percent else f"{value:.{digits}f}"


def number(metrics: Mapping[str, Any], key: str, digits: int = 2, percent: bool = False) -> str:
    """Return a value of the metrics as HTML: rounded text, with the exact value as an attribute."""
    value = look_up(metrics, key)
    return f'<data data-key="{key}" value="{value!r}">{rounded(value, digits, percent)}</data>'


def row(name: str, value: str, meaning: str) -> str:
    """Return one row of a table of numbers; `value` is HTML, the others are plain text."""
    return f"<tr><th>{html.escape(name)}</th><td>{value}</td><td>{html.escape(meaning)}</td></tr>"


def table(rows: Iterable[str]) -> str:
    """Return the rows as a table."""
    return f"<table><tbody>{''.join(rows)}</tbody></table>"


def headed_table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of plain text as a table, the first one its headings; "" without rows."""
    cells = [[html.escape(cell) for cell in row] for row in rows]
    if not cells:
        return ""
    head = "".join(f"<th>{cell}</th>" for cell in cells[0])
    lines = ("".join([f"<th>{first}</th>", *(f"<td>{cell}</td>" for cell in rest)]) for first, *rest in cells[1:])
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(f'<tr>{line}</tr>' for line in lines)}</tbody></table>"


def figure(path: Path, alt: str, caption: str, pixels: bool = False) -> str:
    """Return an embedded picture with its caption. `pixels` shows it without smoothing."""
    content = base64.b64encode(path.read_bytes()).decode("ascii")
    kind = ' class="pixels"' if pixels else ""
    source = f"data:{MEDIA_TYPES[path.suffix]};base64,{content}"
    words = html.escape(caption)
    image = f'<img{kind} src="{source}" alt="{html.escape(alt, quote=True)}">'
    return f"<figure>{image}<figcaption>{words}</figcaption></figure>"


def render(title: str, header: str, sections: Sequence[tuple[str, str]]) -> str:
    """Return the page. `header` and the bodies of the sections are HTML, titles are plain text."""
    named = [(f"part-{i}", html.escape(name), body) for i, (name, body) in enumerate(sections)]
    links = "".join(f'<a href="#{anchor}">{name}</a>' for anchor, name, _ in named)
    bodies = "".join(f'<section id="{anchor}"><h2>{name}</h2>{body}</section>\n' for anchor, name, body in named)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style></head>\n"
        f"<body><main><h1>{html.escape(title)}</h1>\n{header}\n<nav>{links}</nav>\n{bodies}</main></body></html>\n"
    )
