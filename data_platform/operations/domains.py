"""A domain of one's own, begun: a small package that the platform finds once it is installed.
Belongs here: checking its name, writing its files. Not here: what is in them (new_domain/), finding it (packages)."""

from __future__ import annotations

import importlib.util
import keyword
import re
import shutil
from pathlib import Path
from string import Template

from data_platform.core.discovery import known_contracts
from data_platform.core.errors import PlatformError
from data_platform.core.settings import PROJECT_ROOT

TEMPLATES = Path(__file__).with_name("new_domain")
NAME = re.compile(r"[a-z][a-z0-9_]{1,38}[a-z0-9]")


def write_domain(name: str, to: Path) -> list[Path]:
    """Write the package of a new domain into a new or empty folder; its files, in order of path.

    Raises PlatformError for a name that cannot be a package or is taken, and for a folder that holds something.
    """
    _require_free(name)
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise PlatformError(f"{to} is not empty.", "Name a folder that is not there yet.")
    words = {"domain": name, "distribution": name.replace("_", "-")}
    written = []
    for template in sorted(path for path in TEMPLATES.rglob("*.txt")):
        place = template.relative_to(TEMPLATES).with_suffix("")
        file = to / Path(*(name if part == "package" else part for part in place.parts))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(Template(template.read_text()).substitute(words))
        written.append(file)
    written.append(Path(shutil.copy(PROJECT_ROOT / "dagster.yaml", to)))
    return sorted(written)


def _require_free(name: str) -> None:
    if not NAME.fullmatch(name) or keyword.iskeyword(name):
        raise PlatformError(
            f"A domain cannot be called {name[:100]}.",
            "Use 3 to 40 small letters, digits and _, beginning with a letter: it is a Python package and a group of "
            "tables.",
        )
    groups = {table.table_group() for table in known_contracts().values()}
    if name in groups:
        raise PlatformError(f"There is a group of tables called {name} already.", "Choose another name.")
    if importlib.util.find_spec(name) is not None:
        raise PlatformError(f"There is a Python package called {name} already.", "Choose another name.")
