"""A model behind an OpenAI-compatible endpoint: `POST URL/embeddings`.
Not here: which endpoint (settings), the local model."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
from pydantic import SecretStr

from data_platform.core.errors import PlatformError
from data_platform.core.hosts import is_this_machine
from data_platform.domains.research.search.models import PATIENT, ModelFails, Patience, Vectors, readable
from data_platform.domains.research.search.vectors import of_length_one

if TYPE_CHECKING:
    import httpx

log = logging.getLogger(__name__)
BATCH = 64
"""Texts of a request: at most 128,000 characters."""
_BUSY = {408, 409, 429, 500, 502, 503, 504}


class EndpointModel:
    """A model that is asked over HTTP. Raises ModelFails, which names neither key nor what the endpoint answered."""

    def __init__(self, url: str, name: str, key: SecretStr | None = None, patience: Patience = PATIENT) -> None:
        """Raises PlatformError for an address that is none or unsafe."""
        _require_safe(url, key)
        try:
            import httpx
            import tenacity
        except ImportError as error:
            raise PlatformError(
                f"An embeddings endpoint needs the package {error.name}.", "Run `pip install 'data-platform[search]'`."
            ) from None
        self.name, self._url = name, f"{url.rstrip('/')}/embeddings"
        headers = {"authorization": f"Bearer {key.get_secret_value()}"} if key else {}
        self._client = httpx.Client(headers=headers, timeout=patience.timeout, follow_redirects=False)
        self._attempts = patience.attempts
        self._again = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_Busy),
            wait=_as_told(
                tenacity.wait_random_exponential(multiplier=patience.first_wait, max=patience.longest_wait),
                patience.longest_wait,
            ),
            stop=tenacity.stop_after_attempt(patience.attempts),
            reraise=True,
        )
        # What it calls its model says which version it is, and changes when the provider exchanges it.
        probe, called = self._asked(["."])
        self.version, self.dimensions = called or name, probe.shape[1]

    def passages(self, texts: Sequence[str]) -> Vectors:
        parts = [self._embedded(texts[start : start + BATCH], "passage") for start in range(0, len(texts), BATCH)]
        return np.concatenate(parts) if parts else np.empty((0, self.dimensions), np.float32)

    def query(self, text: str) -> Vectors:
        found: Vectors = self._embedded([text], "query")[0]
        return found

    def _embedded(self, texts: Sequence[str], role: str) -> Vectors:
        # Models of the E5 family were trained with these words in front; others with none.
        prefix = f"{role}: " if "e5" in self.name.lower() else ""
        vectors, called = self._asked([prefix + (readable(text) or " ") for text in texts])
        if vectors.shape[1] != self.dimensions or (called or self.name) != self.version:
            raise self._unusable("it answers with another model than a moment ago")
        return vectors

    def _asked(self, texts: Sequence[str]) -> tuple[Vectors, str]:
        try:
            return self._again(self._once, texts)
        except _Busy as busy:
            raise self._unusable(f"{busy}, {self._attempts} times in a row") from None

    def _once(self, texts: Sequence[str]) -> tuple[Vectors, str]:
        import httpx

        body = {"model": self.name, "input": list(texts), "encoding_format": "float"}
        try:
            answer = self._client.post(self._url, json=body)
        except httpx.TransportError as error:
            raise _Busy(type(error).__name__) from None
        if answer.status_code in _BUSY:
            raise _Busy(f"it answers {answer.status_code}", answer.headers.get("retry-after"))
        if answer.status_code != 200:
            raise self._unusable(f"it answers {answer.status_code}")
        return self._read(answer, len(texts))

    def _read(self, answer: httpx.Response, count: int) -> tuple[Vectors, str]:
        try:
            told: dict[str, Any] = answer.json()
            places = {int(one["index"]): one["embedding"] for one in told["data"]}
            vectors = np.array([places[place] for place in range(count)], np.float32)
            if len(places) != count or vectors.ndim != 2:
                raise ValueError
            return of_length_one(vectors), str(told.get("model") or "")
        except (ValueError, TypeError, KeyError, AttributeError):
            raise self._unusable("its answer is not a list of vectors, one for each text") from None

    def _unusable(self, why: str) -> ModelFails:
        return ModelFails(
            f"The embeddings endpoint {self._url} cannot be used for {self.name}: {why}.",
            "Correct DATA_PLATFORM_EMBEDDINGS_URL, DATA_PLATFORM_EMBEDDINGS_MODEL or DATA_PLATFORM_EMBEDDINGS_KEY.",
        )


class _Busy(Exception):
    """It may answer later; `after` is when it said so, in seconds."""

    def __init__(self, why: str, after: str | None = None) -> None:
        super().__init__(why)
        self.after = float(after) if after and after.isdigit() else None


def _as_told(otherwise: Any, longest: float) -> Any:
    """Wait as long as the endpoint said, but not for ever."""

    def wait(state: Any) -> float:
        error = state.outcome.exception()
        log.info("The embeddings endpoint: %s; attempt %d.", error, state.attempt_number)
        return min(error.after, longest) if error.after is not None else float(otherwise(state))

    return wait


def _require_safe(url: str, key: SecretStr | None) -> None:
    """Raise PlatformError for what is no address, and for a key that would travel in the clear."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
        raise PlatformError(
            "DATA_PLATFORM_EMBEDDINGS_URL is no address of an endpoint.", "Write it as https://HOST/v1."
        )
    if key and parts.scheme == "http" and not is_this_machine(parts.hostname):
        raise PlatformError(
            "DATA_PLATFORM_EMBEDDINGS_URL is http://, and the key would travel in the clear.", "Use https://."
        )
