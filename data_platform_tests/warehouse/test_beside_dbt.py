"""A start of the platform imports no dbt, and leaves it importable. Not here: that models run (test_dbt_runs)."""

from __future__ import annotations

import subprocess
import sys

from data_platform_tests.support.homes import Home

CODE = """
import sys
import data_platform.definitions
print(sorted({name.partition(".")[0] for name in sys.modules} & {"dbt", "dbt_common", "mashumaro", "networkx"}))
import dbt.version, dbt.adapters.base.impl
print(dbt.version.__version__)
"""


def test_a_start_imports_no_dbt_and_who_wants_it_can(home: Home) -> None:
    done = subprocess.run([sys.executable, "-c", CODE], env=home.environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    imported, version = done.stdout.splitlines()
    assert imported == "[]"
    assert version.startswith("1.")
