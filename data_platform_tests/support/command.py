"""`python -m data_platform_tests.support.command` is `data-platform` of this checkout, whatever is installed."""

from __future__ import annotations

from data_platform.cli import main

if __name__ == "__main__":
    main()
