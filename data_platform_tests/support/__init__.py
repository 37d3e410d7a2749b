"""What tests of several rooms share: homes, oracles, servers, processes to kill. Not here: any test."""

from pathlib import Path

SUPPORT = Path(__file__).parent
