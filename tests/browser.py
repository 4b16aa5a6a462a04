"""A headless Chromium for tests: Debian's, installed where it is absent and can be."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

OPTIONS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"),
    *("--hide-scrollbars", "--force-prefers-reduced-motion", "--force-color-profile=srgb"),
)


def programs() -> tuple[str, str]:
    """The browser and its driver; a test that needs them is skipped where they cannot be had."""
    with FileLock("/tmp/psp-tests-chromium.lock"):  # apt-get refuses to run twice at once
        if not (found := _found()):
            _install()
            found = _found()
    if not found:
        pytest.skip("needs chromium and chromedriver: apt-get install chromium chromium-driver")
    return found


def _found() -> tuple[str, str] | None:
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


def _install() -> None:
    if os.geteuid() or not shutil.which("apt-get"):
        return
    install = ["install", "-y", "-qq", "--no-install-recommends", "chromium", "chromium-driver"]
    for command in (["update", "-qq"], install):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        done = subprocess.run(["apt-get", *command], capture_output=True, env=environment, timeout=600)
        if done.returncode:
            pytest.skip(f"apt-get {command[0]} failed: {done.stderr.decode(errors='replace')[-300:]}")


def started() -> Iterator[webdriver.Chrome]:
    """A browser that keeps what its console and its network said."""
    browser, driver = programs()
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for option in OPTIONS:
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield chrome
    finally:
        chrome.quit()


def screenshot(chrome: webdriver.Chrome, name: str) -> None:
    """Keep a picture of the page in the folder $PSP_SCREENSHOTS, where that is set."""
    if folder := os.environ.get("PSP_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        chrome.get_screenshot_as_file(str(Path(folder) / f"{name}.png"))
