"""The HTML of a page. Whatever a study holds is escaped here; the page has no script.

The policy in its head forbids the browser to run scripts and to load anything, also if a name of
a study should ever reach the page unescaped.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, field

from adbo.report.page.svg import clean

#: Characters of a text of a study in a table, and of a longer one such as a command.
_CELL, _LONG = 120, 2000


@dataclass(frozen=True)
class Table:
    """Rows of cells under a header; numbers are aligned to the right."""

    header: Sequence[str]
    rows: Sequence[Sequence[str | int | float]]


@dataclass(frozen=True)
class Figure:
    """A picture with what it shows in words, and its numbers for those who do not see it."""

    title: str
    svg: str
    caption: str
    table: Table | None = None


@dataclass(frozen=True)
class Section:
    """A part of the page; what is empty is left out."""

    title: str
    text: str = ""
    figures: Sequence[Figure] = ()
    table: Table | None = None
    command: Sequence[str] = ()
    """Lines to copy."""


@dataclass(frozen=True)
class Page:
    """A whole page.

    Parameters
    ----------
    title
        The name of the study.
    subtitle
        One line below it.
    facts
        Label and value of the numbers that come first.
    sections
        The parts in their order.
    refresh_seconds
        Seconds after which a browser reads the page again; None for a page that stays.
    """

    title: str
    subtitle: str
    facts: Sequence[tuple[str, str]]
    sections: Sequence[Section] = field(default_factory=list)
    refresh_seconds: float | None = None


def render(page: Page) -> str:
    """Return a page as HTML."""
    refresh = ""
    if page.refresh_seconds is not None:
        refresh = f'<meta http-equiv="refresh" content="{max(1, round(page.refresh_seconds))}">'
    facts = "".join(
        f"<div><dt>{_text(label)}</dt><dd>{_text(value)}</dd></div>" for label, value in page.facts
    )
    names = [f"s{i}" for i in range(len(page.sections))]
    links = "".join(
        f'<a href="#{name}">{_text(section.title)}</a>'
        for name, section in zip(names, page.sections, strict=True)
    )
    sections = "".join(
        _section(name, section) for name, section in zip(names, page.sections, strict=True)
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">{_POLICY}{refresh}'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_text(page.title)}</title><style>{_STYLE}</style></head>\n<body><main>"
        f"<header><h1><bdi>{_text(page.title)}</bdi></h1><p>{_text(page.subtitle, _LONG)}</p>"
        f"<dl>{facts}</dl><nav aria-label='Sections'>{links}</nav></header>\n{sections}"
        "</main></body></html>\n"
    )


def _section(name: str, section: Section) -> str:
    parts = [f'<section id="{name}"><h2>{_text(section.title)}</h2>']
    if section.text:
        parts.append(f"<p>{_text(section.text, _LONG)}</p>")
    if section.figures:
        beside = "" if section.table is None else f"<div>{_table(section.table)}</div>"
        figures = "".join(map(_figure, section.figures))
        parts.append(f'<div class="figures">{figures}{beside}</div>')
    elif section.table is not None:
        parts.append(_table(section.table))
    if section.command:
        lines = html.escape("\n".join(section.command).encode(errors="replace").decode())
        parts.append(f"<pre tabindex='0'><code>{lines}</code></pre>")
    return "".join([*parts, "</section>\n"])


def _figure(figure: Figure) -> str:
    numbers = ""
    if figure.table is not None:
        numbers = (
            f"<details><summary>Numbers<span class='unseen'> of: {_text(figure.title)}</span>"
            f"</summary>{_table(figure.table)}</details>"
        )
    return (
        f"<figure><h3>{_text(figure.title)}</h3>{figure.svg}"
        f"<figcaption>{_text(figure.caption, _LONG)}</figcaption>{numbers}</figure>"
    )


def _table(table: Table) -> str:
    right = " class='n'"
    numeric = [not isinstance(cell, str) for cell in (*table.rows, [""] * len(table.header))[0]]
    head = "".join(
        f"<th scope='col'{right * is_numeric}><bdi>{_text(cell)}</bdi></th>"
        for cell, is_numeric in zip(table.header, numeric, strict=True)
    )
    rows = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in table.rows)
    return (
        "<div class='table' tabindex='0' role='region' aria-label='Table'><table>"
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _cell(cell: str | int | float) -> str:
    if isinstance(cell, str):
        return f"<td><bdi>{_text(cell)}</bdi></td>" if cell else "<td></td>"
    text = f"{cell:,}" if isinstance(cell, int) else f"{cell:.8g}"
    return f"<td class='n'>{_text(text)}</td>"


def _text(text: str, length: int = _CELL) -> str:
    """Return a text escaped for HTML, on one line."""
    return html.escape(clean(text, length))


_POLICY = (
    '<meta http-equiv="Content-Security-Policy" content="default-src \'none\';'
    " style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'\">"
)

_STYLE = """
:root{color-scheme:light dark;--line:#8a8a8a55;--soft:#f3f4f6;--dim:#555;--link:#00558a}
@media (prefers-color-scheme:dark){:root{--soft:#22262b;--dim:#b4b9c0;--link:#56b4e9}
body{background:#15181c;color:#eceff2}}
*{box-sizing:border-box}
body{margin:0;font:16px/1.45 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1360px;margin:0 auto;padding:1rem}
h1{font-size:1.5rem;margin:0;overflow-wrap:anywhere}
h2{font-size:1.2rem;margin:2rem 0 .4rem;border-top:1px solid var(--line);padding-top:1rem}
h3{font-size:1rem;margin:0 0 .3rem;overflow-wrap:anywhere}
p{margin:.3rem 0;max-width:75ch;overflow-wrap:anywhere}
header>p,figcaption{color:var(--dim)}
dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.6rem;margin:1rem 0}
dl div{background:var(--soft);border-radius:6px;padding:.5rem .7rem}
dt{font-size:.8rem;color:var(--dim)}
dd{margin:0;font-size:1.15rem;font-weight:600;overflow-wrap:anywhere}
nav{display:flex;flex-wrap:wrap;gap:.2rem 1rem}
a{color:var(--link);padding:.25rem 0}
:focus-visible{outline:3px solid #e69f00;outline-offset:2px}
.figures{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,480px),1fr));
gap:1.2rem 1.6rem}
figure{margin:.5rem 0;min-width:0;max-width:620px}
svg{display:block;width:100%;height:auto}
figcaption{font-size:.85rem;overflow-wrap:anywhere}
summary{cursor:pointer;font-size:.85rem;padding:.25rem 0;color:var(--link)}
.table{overflow-x:auto;max-width:100%;max-height:24rem;overflow-y:auto;margin:.5rem 0}
table{border-collapse:collapse;font-size:.875rem}
th,td{text-align:left;padding:.25rem .8rem .25rem 0;border-bottom:1px solid var(--line);
max-width:34rem;overflow-wrap:anywhere}
th{vertical-align:bottom}
.n{text-align:right;font-variant-numeric:tabular-nums}td.n{white-space:nowrap}
pre{background:var(--soft);border-radius:6px;padding:.8rem;overflow-x:auto;white-space:pre-wrap;
overflow-wrap:anywhere;margin:.5rem 0}
.unseen{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
@media print{nav,details:not([open]){display:none}body{font-size:10pt;background:none;color:#000}
main{padding:0;max-width:none}.figures{grid-template-columns:1fr 1fr}
figure,dl div,tr{break-inside:avoid}h2{break-after:avoid}.table{max-height:none;overflow:visible}}
"""
