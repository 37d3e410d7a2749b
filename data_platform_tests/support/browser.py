"""A real browser (Chromium) without a window, spoken to by its own debugging protocol: no driver, no library.
Not here: any page. Where no Chromium is installed, tests that ask for it are skipped."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless=new", "--remote-debugging-port=0", "--no-first-run", "--disable-gpu", "--disable-extensions",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    "--disable-default-apps", "--force-color-profile=srgb",
)  # fmt: skip
DESKTOP, PHONE = (1300, 1000, False), (390, 844, True)
"""Width and height in CSS pixels, and whether it is held in a hand."""


class Browser:
    """One tab. What scripts and policies complain of is in `faults`."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._numbers = itertools.count(1)
        self._session: str | None = None
        self.faults: list[str] = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        asked = {"id": number, "method": method, "params": parameters}
        self._connection.send(json.dumps(asked | ({"sessionId": self._session} if self._session else {})))
        while True:
            told = json.loads(self._connection.recv(timeout=60))
            self._note(told)
            if told.get("id") == number:
                assert "error" not in told, f"{method}: {told['error']}"
                result: dict[str, Any] = told["result"]
                return result

    def _note(self, told: dict[str, Any]) -> None:
        if told.get("method") == "Runtime.exceptionThrown":
            self.faults.append(json.dumps(told["params"]["exceptionDetails"]))
        # A server that is away is told of at level error, by the network.
        elif told.get("method") == "Log.entryAdded" and told["params"]["entry"]["source"] != "network":
            entry = told["params"]["entry"]
            self.faults += [entry["text"]] if entry["level"] == "error" else []

    def look(self, scheme: str = "light", motion: str = "no-preference", scripts: bool = True) -> None:
        """What the system of the reader prefers."""
        wanted = {"prefers-color-scheme": scheme, "prefers-reduced-motion": motion}
        features = [{"name": name, "value": value} for name, value in wanted.items()]
        self.ask("Emulation.setEmulatedMedia", features=features)
        self.ask("Emulation.setScriptExecutionDisabled", value=not scripts)

    def resize(self, size: tuple[int, int, bool]) -> None:
        width, height, mobile = size
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)

    def open(self, address: str) -> None:
        self.ask("Page.navigate", url=address)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def value(self, expression: str) -> Any:
        """What a JavaScript expression says in the page; raises AssertionError where it fails."""
        told = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def until(self, expression: str, seconds: float = 20) -> Any:
        """What it says as soon as that is true."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(AssertionError):  # between two pages there is nothing to ask
                if found := self.value(expression):
                    return found
            time.sleep(0.05)
        raise AssertionError(f"never true: {expression}\n{self.value('document.body.innerText')}\n{self.faults}")

    def press(self, key: str) -> None:
        for kind in ("rawKeyDown", "keyUp"):
            self.ask("Input.dispatchKeyEvent", type=kind, key=key, code=key)

    def point(self, x: float, y: float) -> None:
        self.ask("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)


@contextlib.contextmanager
def browsing(folder: Path) -> Iterator[Browser]:
    """A browser with a profile of its own in this folder."""
    command = next(filter(None, map(shutil.which, NAMES)), None)
    if command is None:
        pytest.skip("no Chromium is installed (apt-get install chromium)")
    flags = [*FLAGS, f"--user-data-dir={folder}", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([command, *flags], stdout=log, stderr=log)
    try:
        port, path = _address(folder / "DevToolsActivePort", process)
        with connect(f"ws://127.0.0.1:{port}{path}", max_size=None, compression=None) as connection:
            browser = Browser(connection)
            yield browser
            with contextlib.suppress(Exception):
                browser.ask("Browser.close")
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()


def _address(file: Path, process: subprocess.Popen[bytes]) -> tuple[str, str]:
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        lines = file.read_text().splitlines() if file.exists() else []
        if len(lines) == 2:
            return lines[0], lines[1]
        time.sleep(0.05)
    raise AssertionError(f"the browser did not start:\n{(file.parent / 'log').read_text()}")
