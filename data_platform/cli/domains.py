"""Commands for those who add to the platform: new. Not here: what a domain is made of."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from data_platform.core.terminal import out


def new(
    domain: Annotated[str, typer.Argument(metavar="DOMAIN", help="Its name: a Python package, a group of tables.")],
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="A folder that is empty or not there yet.")],
) -> None:
    """Begin a domain of your own: a small package that runs beside ours, without a fork."""
    from data_platform.operations.domains import write_domain

    files = write_domain(domain, to)
    out.print(f"{len(files)} files are in {to}. Install it, and the platform finds it:", soft_wrap=True)
    for line in (f"cd {shlex.quote(str(to))}", "pip install --no-deps --editable .", "pytest"):
        out.print(f"  {line}", soft_wrap=True)
    out.print("Its README.md says how to land its first file and build its table.")
