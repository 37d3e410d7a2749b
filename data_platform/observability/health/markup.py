"""Text as HTML: data, which is escaped and cut; names, which may break after each word; sentences of contracts.
Not here: what makes text safe to look at (text), how numbers read (words)."""

from __future__ import annotations

import re

from markupsafe import Markup, escape

from data_platform.observability.health.text import LONGEST, LONGEST_TITLE, visible, visible_start

CODE = re.compile(r"`([^`]+)`")
SEAM = re.compile(r"(?<=[_/.])(?=\w)")


def shown(value: object, longest: int = LONGEST) -> Markup:
    """Data: escaped, isolated from the direction of the text around, cut, and whole in its title."""
    start = visible_start(value, longest)
    whole = visible_start(value, LONGEST_TITLE)
    if whole == start:
        return Markup("<bdi>{}</bdi>").format(start)
    return Markup('<bdi title="{}">{}</bdi>').format(whole, start)


def breakable(value: object) -> Markup:
    """A name, that a narrow column breaks where a reader would: `player_churn_` `features`, not `player_chu` `rn`."""
    return Markup("<wbr>").join(SEAM.split(visible_start(value, LONGEST)))


def sentence(value: object) -> Markup:
    """What a contract says: what stands between backticks is code."""
    return Markup(CODE.sub(r"<code>\1</code>", str(escape(visible(value)))))
