"""Every domain's landing folders, together. Not here: what any of them holds."""

from __future__ import annotations

from data_platform.domains.commerce import sources as commerce
from data_platform.domains.gameplay import sources as gameplay

SOURCES = (*gameplay.SOURCES, *commerce.SOURCES)
