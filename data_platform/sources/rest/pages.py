"""Lists that are read page by page, each page from behind the last object of the one before.
Belongs here: following such cursors. Not here: one request (client), which lists there are (domains)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from data_platform.sources.rest.declarations import Answer, ApiRefusal, ApiUnusable, Asks, CursorLost, Parameters
from data_platform.sources.rest.written import Written

GONE = (400, 404, 410)
"""What APIs answer to a cursor that they do not know any more."""


@dataclass(frozen=True)
class CursorList:
    """The names that an API gives to the parts of a page, and to what asks for the next one."""

    items: str = "data"
    more: str = "has_more"
    id: str = "id"
    after: str = "starting_after"
    limit: str = "limit"
    most: int = 100

    def objects(self, api: Asks, path: str, parameters: Parameters) -> Iterator[tuple[Written, Answer]]:
        """(object, the answer it is in) in the order of the list. Objects that appear or vanish while it is read shift
        no page, because each begins behind an object; one that is shown twice comes twice.

        Raises CursorLost when the object behind which the next page begins is gone, ApiRefusal and ApiUnusable.
        """
        cursor: str | None = None
        while True:
            behind = {} if cursor is None else {self.after: cursor}
            try:
                answer = api.get(path, {self.limit: self.most, **parameters, **behind})
            except ApiRefusal as refusal:
                if cursor is not None and refusal.status in GONE:
                    raise CursorLost(f"{path}: {refusal.problem}") from None
                raise
            listed = answer.body.member(self.items)
            if listed is None or not isinstance(listed.value, list):
                raise ApiUnusable(f"{path} answers with something that is no list.", "Is base_url that of the API?")
            found = list(listed.elements())
            for one in found:
                yield one, answer
            if answer.body.field(self.more) is not True:
                return
            last = next((one.field(self.id) for one in reversed(found) if one.field(self.id)), None)
            if last is None or last == cursor:
                raise CursorLost(f"{path}: there is said to be more, and nothing to go on from")
            cursor = last
