"""An object store that speaks S3 over HTTP: moto's server, in a process of its own, which this module also is.
Not here: any assertion."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from data_platform.core.lake.store import Lake
from data_platform_tests.support.homes import Home

BUCKET = "game-data"
KEY_ID, SECRET = "AKIATESTINGTESTING01", "s3cret/Passw0rd+s3cret/Passw0rd+s3cret01"
OTHER_KEY_ID = "AKIASOMEONEELSES0001"
REFUSED = (
    "<Error><Code>InvalidAccessKeyId</Code><Message>The AWS Access Key Id you provided does not exist in our records."
    f"</Message><AWSAccessKeyId>{OTHER_KEY_ID}</AWSAccessKeyId></Error>"
)
"""As Amazon answers: the key is in it."""
Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


@contextlib.contextmanager
def object_store() -> Iterator[tuple[str, dict[str, str]]]:
    """An empty bucket on a free port; yields its URL and the options that let one in."""
    server = subprocess.Popen(
        [sys.executable, "-m", "data_platform_tests.support.object_store"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert server.stdout is not None
        yield f"s3://{BUCKET}", options_of(f"http://127.0.0.1:{int(server.stdout.readline())}")
    finally:
        server.kill()
        server.wait()


def options_of(endpoint: str) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ALLOW_HTTP": "true",
    }


@dataclass(frozen=True)
class HomeOnStore(Home):
    """A home whose lake is in an object store."""

    url: str = ""
    options: Mapping[str, str] = field(default_factory=dict, compare=False)

    @cached_property
    def lake(self) -> Lake:
        return Lake(self.url, self.options)

    @property
    def variables(self) -> dict[str, str]:
        own = {"DATA_PLATFORM_LAKE_URL": self.url, "DATA_PLATFORM_LAKE_OPTIONS": json.dumps(dict(self.options))}
        return super().variables | own


# ------------------------------------------------------------------------------ the server's process
def as_amazon(store: Application) -> Application:
    """What moto leaves out: one who shows another key is refused, and a write is checked and made as one step. Moto
    looks whether an object is there and then writes it; between the two another request could do the same."""
    one_at_a_time = threading.Lock()

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if f"Credential={KEY_ID}/" not in environ.get("HTTP_AUTHORIZATION", ""):
            start_response("403 Forbidden", [("Content-Type", "application/xml")])
            return [REFUSED.encode()]
        with one_at_a_time:
            return list(store(environ, start_response))

    return answer


def main() -> None:
    from moto.server import MotoRequestHandler, create_backend_app
    from werkzeug.serving import make_server
    from werkzeug.test import Client

    store = create_backend_app("s3")
    Client(store).put(f"/{BUCKET}")
    server = make_server("127.0.0.1", 0, as_amazon(store), threaded=True, request_handler=MotoRequestHandler)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
