"""The classes that tokens of a call are billed in: disjoint, so that their sum is what was billed for.
Not here: how any provider counts (adapters), what a class costs (contracts/prices)."""

from __future__ import annotations

from collections.abc import Mapping

TOKEN_CLASSES: Mapping[str, str] = {
    "input": "Tokens of the prompt that were neither read from nor written to a cache, and are text.",
    "cache_read": "Tokens of the prompt that were read from the provider's cache.",
    "cache_write": "Tokens of the prompt that were written to the provider's cache, to stay there for minutes.",
    "cache_write_1h": "Tokens of the prompt that were written to the provider's cache, to stay there for an hour.",
    "audio_input": "Tokens of sound in the prompt.",
    "image_input": "Tokens of pictures in the prompt.",
    "output": "Tokens of the answer that are text, without those of reasoning.",
    "reasoning": "Tokens of the answer that the model thought and did not say.",
    "audio_output": "Tokens of sound in the answer.",
    "image_output": "Tokens of pictures in the answer.",
}
"""Class → what it counts. The columns are called `<class>_tokens`."""

INPUT_CLASSES = ("input", "cache_read", "cache_write", "cache_write_1h", "audio_input", "image_input")
"""Those of the prompt: together its length, by which some models' prices rise."""


def tokens_of(token_class: str) -> str:
    """The column of a class."""
    return f"{token_class}_tokens"
