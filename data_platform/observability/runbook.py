"""docs/runbook.md and the `runbook.md` of each domain as pages: one for each heading, so that a problem leads to what
to do about it. Not here: which heading a problem leads to (observability/alerts/problems)."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from data_platform.core.packages import packages
from data_platform.core.settings import PROJECT_ROOT

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

OURS = "docs/runbook.md"
SECTIONS_BY = re.compile(r"^(##+) +(.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it, up to the next heading."""

    heading: str
    depth: int
    body: str
    file: str
    """Where it stands, for people: `docs/runbook.md`, or `guilds/runbook.md` of an installed domain."""

    @property
    def anchor(self) -> str:
        return anchor(self.heading)

    def html(self, link: Callable[[str], str], known: Mapping[str, Section]) -> Markup:
        return rendered(self.body, link, known)


def sections() -> dict[str, Section]:
    """By anchor, ours in the order of the file, then those of domains; a heading that stands there keeps its place."""
    files = {OURS: PROJECT_ROOT / OURS}
    for package, folder in packages().items():
        files[f"{package.replace('.', '/')}/runbook.md"] = folder / "runbook.md"
    found: dict[str, Section] = {}
    for name, file in files.items():
        if file.exists():
            parts = SECTIONS_BY.split(file.read_text(encoding="utf-8"))
            for hashes, heading, body in zip(*(parts[i::3] for i in (1, 2, 3)), strict=True):
                found.setdefault(anchor(heading), Section(heading, len(hashes), body, name))
    return found


def address(heading: str) -> str:
    """File and anchor of a heading, for people who have no link to click."""
    section = sections().get(heading)
    return f"{section.file if section else OURS}#{heading}"


def anchor(heading: str) -> str:
    """A heading as Markdown renderers name it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def rendered(text: str, link: Callable[[str], str], known: Mapping[str, Section]) -> Markup:
    """Markdown as HTML; links to other headings lead to their pages, links to other files of docs/ are text."""
    markdown = _markdown()
    tokens = markdown.parse(text)
    for token in tokens:
        token.children = _linked(token.children, link, known) if token.children else token.children
    html = markdown.renderer.render(tokens, markdown.options, {})
    return Markup(html.replace("<table>", '<div class="wide"><table>').replace("</table>", "</table></div>"))


@functools.cache
def _markdown() -> MarkdownIt:
    """HTML in the text stays text."""
    from markdown_it import MarkdownIt  # a twentieth of loading the code location, where no page is drawn

    return MarkdownIt("commonmark", {"html": False}).enable("table")


def _linked(tokens: list[Token], link: Callable[[str], str], known: Mapping[str, Section]) -> list[Token]:
    kept: list[Token] = []
    dropped: list[bool] = []
    for token in tokens:
        if token.type == "link_open":
            target = str(token.attrGet("href") or "")
            inside = target.startswith("#") and target[1:] in known
            if inside:
                token.attrSet("href", link(f"/runbook/{target[1:]}"))
            dropped.append(not inside and not target.startswith(("https://", "http://")))
            if dropped[-1]:
                continue
        elif (token.type == "link_close" and dropped.pop()) or token.type == "image":
            continue
        kept.append(token)
    return kept
