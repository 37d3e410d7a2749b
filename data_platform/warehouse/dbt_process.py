"""dbt's own command, begun before it is known what it is to select: imports and the parsed project are 2.8 of the 3 s
that a start of dbt takes. Run as a module, by `starting`, with the pid of who started it and dbt's arguments.
Belongs here: what can be done ahead, and waiting. Not here: starting and ending it (starting), what dbt calls
(lake_plugin)."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

from data_platform.core.discovery import know_contracts
from data_platform.core.errors import PlatformError
from data_platform.core.importing import freeze_imported, importing
from data_platform.warehouse.exchange import await_selection

QUIETLY = ("--log-level", "warn", "--log-level-file", "none")
"""What dbt says of parsing belongs to the log of the step, where it is a warning."""


LOOKS_SECONDS = 0.5
"""Between two looks whether who started it is still there."""


def main() -> None:
    started_by, arguments = int(sys.argv[1]), sys.argv[2:]
    threading.Thread(target=_end_with, args=(started_by,), daemon=True).start()
    with importing():
        from dbt.cli.main import cli, dbtRunner

        import data_platform.warehouse.lake_plugin  # noqa: F401  dbt would import it next

        know_contracts()
        # The way of dbt's own documentation to parse once: "Reusing objects" of programmatic invocations. What cannot
        # be parsed here is parsed again below, and told there.
        parsed = dbtRunner().invoke([*QUIETLY, "parse", "--no-write-json"])
    freeze_imported()
    try:
        selected = await_selection(Path(os.environ["DBT_TARGET_PATH"]), started_by)
    except PlatformError:
        return  # nobody listens any more
    arguments += ["--select", *selected] if selected else []
    sys.argv = ["dbt", *arguments]
    cli.main(arguments, prog_name="dbt", obj={"manifest": parsed.result if parsed.success else None})


def _end_with(started_by: int) -> None:
    """Whatever it does: what it computes would be nobody's."""
    while os.getppid() == started_by:
        time.sleep(LOOKS_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    main()
