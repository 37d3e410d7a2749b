"""Takes the screenshots of the README from the running UI in a real browser. Not part of the product or its tests.

export DATA_PLATFORM_HOME=/tmp/shots DATA_PLATFORM_FIRST_DAY=$(date -u -d '-60 days' +%F)
data-platform demo
apt-get install -y chromium chromium-driver
python3 -m venv /tmp/shots-venv && /tmp/shots-venv/bin/pip install selenium
/tmp/shots-venv/bin/python docs/take_screenshots.py [NAME ...]
"""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "img"
PORT = 3961
URL = f"http://127.0.0.1:{PORT}"
CHURN = f"{URL}/assets/features/player_churn_features"
HEALTH_PORT = 3962
HEALTH = f"http://127.0.0.1:{HEALTH_PORT}"
SERVED = ("health", "dashboards", "live", "costs")
"""How pictures are called that `data-platform serve` is taken of; the others are of Dagster."""
WIDTH, HEIGHT = 1600, 1000
PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    f"--window-size={WIDTH},{HEIGHT}",
)


def main(names: list[str]) -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    chosen = {name: take for name, take in SHOTS.items() if not names or name in names}
    of_health = {name: take for name, take in chosen.items() if name.startswith(SERVED)}
    of_dagster = {name: take for name, take in chosen.items() if name not in of_health}
    with tempfile.TemporaryDirectory() as profile:
        if of_dagster:
            shoot(["dagster", "dev", "--port", str(PORT)], f"{URL}/server_info", b"version", profile, of_dagster)
        if of_health:
            shoot(["data-platform", "serve", "--port", str(HEALTH_PORT)], f"{HEALTH}/healthz", b"", profile, of_health)


def shoot(
    command: list[str], ready: str, answer: bytes, profile: str, shots: dict[str, Callable[[webdriver.Chrome], None]]
) -> None:
    """Start a server of the checkout, and take pictures of its pages."""
    with tempfile.NamedTemporaryFile(suffix=".log") as log:
        server = subprocess.Popen(
            [str(ROOT / ".venv/bin" / command[0]), *command[1:]],
            cwd=ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        try:
            wait_for(lambda: answer in urllib.request.urlopen(ready, timeout=5).read(), 120)
            browser = open_browser(profile)
            try:
                for name, take in shots.items():
                    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})  # of a phone before it
                    browser.set_window_size(WIDTH, HEIGHT)
                    take(browser)
                    time.sleep(3)
                    browser.save_screenshot(str(IMAGES / f"{name}.png"))
                    print(name, (IMAGES / f"{name}.png").stat().st_size // 1024, "KB")
            finally:
                browser.quit()
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(60)


def open_browser(profile: str) -> webdriver.Chrome:
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    browser = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    browser.set_page_load_timeout(120)
    return browser


def wait_for(done: Callable[[], object], seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while True:
        try:
            if done():
                return
        except Exception as error:  # the page or the server is not there yet
            if time.monotonic() > until:
                raise TimeoutError(f"not loaded within {seconds} s") from error
        if time.monotonic() > until:
            raise TimeoutError(f"not loaded within {seconds} s")
        time.sleep(0.5)


def text(browser: webdriver.Chrome) -> str:
    return browser.find_element(By.TAG_NAME, "body").text


def show(browser: webdriver.Chrome, address: str, *expected: str) -> None:
    """Open a page and wait for words on it."""
    browser.get(address)
    wait_for(lambda: all(word in text(browser) for word in expected))
    time.sleep(5)  # live data arrive after the page


def click(browser: webdriver.Chrome, xpath: str) -> None:
    wait_for(lambda: browser.find_element(By.XPATH, xpath))
    browser.execute_script("arguments[0].click()", browser.find_element(By.XPATH, xpath))
    time.sleep(1)


def graph(browser: webdriver.Chrome, selection: str, height: int) -> None:
    """The lineage page with all groups open, each asset with its checks and partitions, fitted to the window."""
    browser.set_window_size(WIDTH, height)
    browser.get(f"{URL}/about")
    wait_for(lambda: text(browser))
    for name, value in REMEMBERED.items():
        browser.execute_script("localStorage.setItem(arguments[0], arguments[1])", name, value)
    chosen = f"~{quote(selection, safe='')}/" if selection else ""
    opened = quote(",".join(f"global@global:{group}" for group in ("raw", "clean", "gameplay", "features")))
    show(browser, f"{URL}/asset-groups{chosen}?expanded={opened}", "Materialize all", "player_events")
    for button in browser.find_elements(By.XPATH, "//button"):
        if button.location["y"] == 64 and 200 < button.location["x"] < 400:  # the list of groups beside the graph
            button.click()
            break
    time.sleep(2)
    page = browser.find_element(By.TAG_NAME, "body")
    ActionChains(browser).move_to_element_with_offset(page, -600, 300).double_click().perform()  # fit to the window


REMEMBERED = {
    "asset-node-facets": json.dumps(["checks", "partitions"]),
    "dagster-nav-collapsed": "true",
    "large-screen-nav-open": "false",
}


def lineage(browser: webdriver.Chrome) -> None:
    graph(browser, '+key:"features/player_churn_features"', 1430)


def asset_partitions(browser: webdriver.Chrome) -> None:
    yesterday = (dt.datetime.now(dt.UTC).date() - dt.timedelta(1)).isoformat()
    show(browser, f"{CHURN}?view=partitions&partition={yesterday}", "Materialized", "partition_row_count")


def asset_checks(browser: webdriver.Chrome) -> None:
    show(browser, f"{CHURN}?view=checks&checkDetail=contract", "contract")
    click(browser, "(//button[text()='Partitions' or .//text()='Partitions'])[last()]")
    time.sleep(3)
    yesterday = (dt.datetime.now(dt.UTC).date() - dt.timedelta(1)).isoformat()
    click(browser, f"(//*[text()='{yesterday}'])[last()]")
    time.sleep(3)


def columns(browser: webdriver.Chrome) -> None:
    show(browser, f"{CHURN}?view=overview", "Columns")


def health(browser: webdriver.Chrome) -> None:
    colours(browser, "light")
    browser.set_window_size(1300, 1700)
    show(browser, HEALTH, "Open problems")


def health_table(browser: webdriver.Chrome) -> None:
    colours(browser, "dark")
    browser.set_window_size(1300, 1500)
    show(browser, f"{HEALTH}/tables/clean/player_events", "Rows per day")


def health_phone(browser: webdriver.Chrome) -> None:
    colours(browser, "dark")
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    show(browser, HEALTH, "Open problems")


def dashboards(browser: webdriver.Chrome) -> None:
    colours(browser, "light")
    browser.set_window_size(1300, 3660)
    show(browser, f"{HEALTH}/dashboards?days=30", "Active players", "Revenue and refunds")


def dashboards_phone(browser: webdriver.Chrome) -> None:
    colours(browser, "dark")
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    show(browser, f"{HEALTH}/dashboards?days=90", "Active players")


def colours(browser: webdriver.Chrome, scheme: str) -> None:
    preferred = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", preferred)


@contextmanager
def played(seconds: float) -> Iterator[None]:
    """A pretend game is played, and has been for so long."""
    port = str(PORT + 2)
    commands = (["serve", "collector", "--port", port], ["simulate-live", f"http://127.0.0.1:{port}", "--rate", "150"])
    players = [subprocess.Popen([str(ROOT / ".venv/bin/data-platform"), *command], cwd=ROOT) for command in commands]
    try:
        time.sleep(seconds)
        yield
    finally:
        for player in reversed(players):
            player.send_signal(signal.SIGINT)
            player.wait(60)


def live(browser: webdriver.Chrome) -> None:
    with played(330):  # the plot shows five minutes
        colours(browser, "light")
        browser.set_window_size(1300, 1250)
        show(browser, f"{HEALTH}/live", "● live")
        wait_for(lambda: "wait to be read" not in text(browser))  # the last half hour, of a server that just began


def live_phone(browser: webdriver.Chrome) -> None:
    with played(30):
        colours(browser, "dark")
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
        show(browser, f"{HEALTH}/live", "● live")


def costs(browser: webdriver.Chrome) -> None:
    colours(browser, "light")
    browser.set_window_size(1300, 1620)
    show(browser, f"{HEALTH}/costs", "● live", "Budgets")


def costs_phone(browser: webdriver.Chrome) -> None:
    colours(browser, "dark")
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    show(browser, f"{HEALTH}/costs", "● live")


SHOTS: dict[str, Callable[[webdriver.Chrome], None]] = {
    "lineage": lineage,
    "asset_partitions": asset_partitions,
    "asset_checks": asset_checks,
    "columns": columns,
    "health": health,
    "health_table": health_table,
    "health_phone": health_phone,
    "dashboards": dashboards,
    "dashboards_phone": dashboards_phone,
    "live": live,
    "live_phone": live_phone,
    "costs": costs,
    "costs_phone": costs_phone,
}

if __name__ == "__main__":
    if "DATA_PLATFORM_HOME" not in os.environ:
        sys.exit("Set DATA_PLATFORM_HOME to the home of a finished `data-platform demo`.")
    main(sys.argv[1:])
