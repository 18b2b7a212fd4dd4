"""Headless Chromium, driven as a person would: it looks, clicks and types, and talks to this machine alone."""

import base64
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from support.chromium_program import PROGRAMS, missing
from support.waiting import eventually

FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
    "--window-size=1280,900", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]  # fmt: skip


class Browser:
    def __init__(self, driver: Any, at: str) -> None:
        self._driver, self._at = driver, at
        self.at_night(False)

    def opens(self, path: str) -> None:
        self._driver.get(self._at + path)

    def finds(self, css: str) -> WebElement:
        found: WebElement = eventually(lambda: self._driver.find_elements(By.CSS_SELECTOR, css), f"{css} is shown")[0]
        return found

    def reads(self, css: str) -> str:
        return str(self.finds(css).text)

    def clicks(self, css: str) -> None:
        self.finds(css).click()

    def clicks_link(self, text: str) -> None:
        self._driver.find_element(By.PARTIAL_LINK_TEXT, text).click()

    def sees(self, words: str, css: str = "main") -> None:
        """Wait until it stands there."""
        eventually(lambda: words in self.reads(css), f"{words!r} in {css}")

    def sees_after_a_while(self, words: str, css: str = "main") -> None:
        """As above, by loading the page again."""

        def there() -> bool:
            self._driver.refresh()
            return any(words in one.text for one in self._driver.find_elements(By.CSS_SELECTOR, css))

        eventually(there, f"{words!r} in {css}")

    def types(self, words: str, css: str) -> None:
        """Into a field, in which it stays."""
        self.finds(css).send_keys(words)

    def tells(self, script: str) -> Any:
        """What a piece of JavaScript returns."""
        return self._driver.execute_script(script)

    def is_hidden(self, hidden: bool) -> None:
        """Whether another tab is in front, as far as the page can tell."""
        self.tells(
            f"Object.defineProperty(document, 'hidden', {{value: {str(hidden).lower()}, configurable: true}});"
            "document.dispatchEvent(new Event('visibilitychange'));"
        )

    def title(self) -> str:
        return str(self._driver.title)

    def complaints(self) -> list[str]:
        """Errors on the page's console."""
        return [entry["message"] for entry in self._driver.get_log("browser") if entry["level"] == "SEVERE"]

    def at_night(self, dark: bool) -> None:
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        still = {"name": "prefers-reduced-motion", "value": "reduce"}  # what is to be clicked must not be on its way
        self._driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme, still]})

    def on_a_phone(self, phone: bool) -> None:
        if phone:
            screen = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
            self._driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        else:
            self._driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

    def is_too_wide(self) -> bool:
        """Whether the page as a whole has to be moved sideways."""
        return bool(self._driver.execute_script("return document.documentElement.scrollWidth > window.innerWidth"))

    def broken_names(self) -> list[str]:
        """Names of handlers and events that a table shows on more than one line."""
        found: list[str] = self.tells(
            "return [...document.querySelectorAll('.l-table .b a')]"
            ".filter(link => link.getClientRects().length > 1).map(link => link.textContent)"
        )
        return found

    def keeps_a_picture(self, name: str, most: int = 1100) -> None:
        """For docs/, if $EVENTS_TEST_SCREENSHOTS says into which folder."""
        if folder := os.environ.get("EVENTS_TEST_SCREENSHOTS"):
            self._driver.execute_script("window.scrollTo(0, 0)")
            size = self._driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
            clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], most), "scale": 1}
            wanted = {"format": "png", "captureBeyondViewport": True, "clip": clip}
            shot = self._driver.execute_cdp_cmd("Page.captureScreenshot", wanted)
            Path(folder, name).write_bytes(base64.b64decode(shot["data"]))


@contextmanager
def chromium(folder: Path, at: str) -> Iterator[Browser]:
    """A browser with an empty profile. Without Chromium the test is skipped at home and fails in CI."""
    if absent := missing():
        reason = f"{' and '.join(absent)} not found; scripts/test installs it"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    program, driver = (shutil.which(name) or name for name in PROGRAMS)
    options = webdriver.ChromeOptions()
    options.binary_location = program
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for flag in [*FLAGS, f"--user-data-dir={folder}"]:
        options.add_argument(flag)
    browser = webdriver.Chrome(options, webdriver.ChromeService(driver))
    try:
        yield Browser(browser, at)
    finally:
        browser.quit()
