"""Where real data of others lies: beside the checkout, or where SHARED_DATA says. It is never part of the project;
tests that need it skip without. Not here: any of it."""

from __future__ import annotations

import os
from pathlib import Path

from data_platform.core.settings import PROJECT_ROOT

SHARED_DATA = Path(os.environ.get("SHARED_DATA", PROJECT_ROOT.parent / "shared" / "data"))
