"""The documentation says what is: the dictionary is the generator's, commands parse, settings are all there, links lead
somewhere, headers of modules too. Not here: whether the prose is true."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from data_platform.cli import command_line
from data_platform.core.settings import PROJECT_ROOT, Settings
from data_platform.operations.dictionary import DICTIONARY, dictionary
from data_platform.sources.connectors import kinds

README, SETTINGS = PROJECT_ROOT / "README.md", PROJECT_ROOT / "docs" / "guides" / "production.md"
RUNBOOK = PROJECT_ROOT / "docs" / "runbook.md"
OWN_DOMAIN = PROJECT_ROOT / "docs" / "guides" / "own_domain.md"
PAGES = (README, PROJECT_ROOT / "CONTRIBUTING.md", *sorted((PROJECT_ROOT / "docs").rglob("*.md")))
README_LINES = 200
"""What it is, two commands, a first hour, where next; a chapter more is a guide."""
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
NOT_HERE = re.compile(r"Not here:(.*?)(?:\. |$)")
MODULE = re.compile(r"[a-z_]+(?:/[a-z_]+)*")
SHELL_VARIABLES = {"$today": "2026-01-31", "$ten_days_ago": "2026-01-21", "$month": "2026-01"}


def commands() -> Iterator[tuple[str, str]]:
    """(page, command line) of every `data-platform …` in a shell fence."""
    for page in PAGES:
        for language, body in FENCE.findall(page.read_text()):
            if language == "sh":
                lines = body.replace("\\\n", " ").splitlines()
                yield from ((page.name, line.strip()) for line in lines if line.strip().startswith("data-platform"))


def links() -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        prose = FENCE.sub("", page.read_text())
        yield from ((page, link) for link in LINK.findall(prose) if "://" not in link)


def anchors(page: Path) -> set[str]:
    """Headings as Markdown renderers name them: lower case, punctuation gone, spaces as hyphens."""
    headings = HEADING.findall(FENCE.sub("", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_committed_dictionary_is_what_the_contracts_say() -> None:
    assert DICTIONARY.read_text() == dictionary(), "docs/data_dictionary.md is out of date: run `make docs`, commit it"


@pytest.mark.parametrize(("page", "line"), sorted(set(commands())))
def test_documented_commands_parse(page: str, line: str) -> None:
    """Names, options and values; nothing is run."""
    for name, value in SHELL_VARIABLES.items():
        line = line.replace(name, value)
    _, name, *arguments = (word for word in shlex.split(line.partition(" >")[0], comments=True) if word != "&")
    commands_by_name = typer.main.get_command(command_line()).commands
    assert name in commands_by_name, f"{page}: there is no command {name}"
    commands_by_name[name].make_context(name, arguments).close()


def test_the_readme_documents_commands() -> None:
    used = {shlex.split(line)[1] for page, line in commands() if page == "README.md"}
    assert used >= {"demo", "status", "table", "build"}


def test_every_command_is_documented() -> None:
    used = {shlex.split(line)[1] for _, line in commands()}
    assert used >= typer.main.get_command(command_line()).commands.keys()


def test_the_readme_stays_short() -> None:
    assert len(README.read_text().splitlines()) <= README_LINES, "a chapter more belongs in docs/guides"


def test_every_guide_is_named_in_the_readme() -> None:
    there = {f"docs/guides/{page.name}" for page in (PROJECT_ROOT / "docs" / "guides").glob("*.md")}
    assert there <= set(LINK.findall(README.read_text()))


def test_the_runbook_lists_its_chapters_in_order() -> None:
    text = FENCE.sub("", RUNBOOK.read_text())
    chapters = re.findall(r"^## +(.+)$", text, re.MULTILINE)
    assert re.findall(r"^- \[(.+?)\]\(#", text.partition("\n## ")[0], re.MULTILINE) == chapters


def test_every_kind_of_source_has_its_line_of_the_runbook() -> None:
    """What is seen when it stops, and where it says what to do."""
    _, _, chapter = RUNBOOK.read_text().partition("\n## A source stops\n")
    rows = re.findall(r"^\| [^|]+ \| `(\w+)/\S+` \| [^|]+ \| \[", chapter.partition("\n## ")[0], re.MULTILINE)
    assert rows == kinds()


def test_every_setting_is_listed() -> None:
    listed = re.findall(r"^\| `DATA_PLATFORM_(\w+)` \|", SETTINGS.read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(name.upper() for name in Settings.model_fields)


def test_all_that_a_domain_may_declare_is_listed() -> None:
    """With where to look, which is there."""
    code = "\n".join(file.read_text() for file in (PROJECT_ROOT / "data_platform").rglob("*.py"))
    rows = re.findall(r"^\| (`.+?) \|.*\| (`.+`) \|$", OWN_DOMAIN.read_text(), re.MULTILINE)
    listed = {name for names, _ in rows for name in re.findall(r"`(\w+)`", names)}
    assert listed == set(re.findall(r'(?:modules_called|declared_in)\(\s*"(\w+)"', code))
    for place in (place for _, places in rows for place in re.findall(r"`(.+?)`", places)):
        assert (PROJECT_ROOT / "data_platform" / f"{place}.py").is_file(), f"there is no {place}"


@pytest.mark.parametrize(("page", "link"), sorted(set(links())), ids=lambda value: getattr(value, "name", value))
def test_links_lead_somewhere(page: Path, link: str) -> None:
    file, _, anchor = link.partition("#")
    target = (page.parent / file).resolve() if file else page
    assert target.exists(), f"{page.name} links to {link}, and there is no {target.relative_to(PROJECT_ROOT)}"
    if anchor:
        assert anchor in anchors(target), f"{page.name} links to {link}, and {target.name} has no such heading"


def test_headers_name_modules_that_exist() -> None:
    """`Not here: what a commit means (store, log), how fresh it is (observability/freshness)` sends readers there."""
    files = [file for room in ("data_platform", "data_platform_tests") for file in (PROJECT_ROOT / room).rglob("*.py")]
    places = {part for file in files for part in (file.stem, *file.relative_to(PROJECT_ROOT).parts)}
    stale = []
    for file in files:
        header = " ".join((ast.get_docstring(ast.parse(file.read_text())) or "").split())
        groups = re.findall(r"\(([^()]*)\)", " ".join(NOT_HERE.findall(header)))
        named = [name for group in groups for name in group.split(", ") if MODULE.fullmatch(name)]
        unknown = [name for name in named if not ({*name.split("/")} <= places or (PROJECT_ROOT / name).exists())]
        stale += [f"{file.relative_to(PROJECT_ROOT)}: {name}" for name in unknown]
    assert stale == []
