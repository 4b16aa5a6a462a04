"""The report in a real browser: it draws, answers the pointer and the keyboard, and fits a phone."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_core_python.selenium import Axe
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from analysis.report import Progress, write_report
from tests.analysis.test_roles import store_of
from tests.browser import screenshot, started

pytestmark = pytest.mark.xdist_group("browser")
SIZES = {"phone": (390, 844), "desktop": (1280, 900)}


@pytest.fixture(scope="module")
def chrome() -> Iterator[Chrome]:
    yield from started()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page of 12 trials of 63: three contexts, two widths, two seeds, three tasks."""
    folder = tmp_path_factory.mktemp("report")
    out = store_of(folder / "out", {"context": ["none", "binary", "complex"], "width": [8, 16]})
    missing = [{"curve": "binary", "width": 16, "seed": 7, "status": "to do"}] * 51
    told = {"name": "made-up", "about": "A study for tests.", "commands": ["psp run study.yaml"]}
    progress = Progress(**told, planned=63, done=12, missing=missing)  # type: ignore[arg-type]
    write_report([out], {out: progress}, folder / "page.html")
    return (folder / "page.html").as_uri()


Open = Callable[..., Chrome]


@pytest.fixture
def opened(chrome: Chrome, address: str) -> Open:
    """Opens the page in a window of a size and in a colour scheme, and waits until all is drawn."""

    def open_(size: str = "desktop", scheme: str = "light") -> Chrome:
        width, height = SIZES[size]
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == "phone"}
        chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": features})
        chrome.get("about:blank")
        chrome.get(address)
        until(chrome, "return document.documentElement.dataset.ready === 'true'")
        return chrome

    return open_


def until(chrome: Chrome, script: str) -> Any:
    return WebDriverWait(chrome, 20, 0.1).until(lambda _: chrome.execute_script(script))


def all_of(chrome: Chrome, selector: str) -> list[WebElement]:
    return chrome.find_elements(By.CSS_SELECTOR, selector)


def one(chrome: Chrome, selector: str) -> WebElement:
    return chrome.find_element(By.CSS_SELECTOR, selector)


def column(chrome: Chrome, title: str) -> list[str]:
    heads = [head.text.split(" ")[0] for head in all_of(chrome, "#trial-table thead th")]
    return [cell.text for cell in all_of(chrome, f"#trial-table tbody tr > :nth-child({heads.index(title) + 1})")]


def points(chrome: Chrome, chart: str) -> int:
    return len(all_of(chrome, f"[data-chart={chart}] .mark-symbol path"))


def click_chip(chrome: Chrome, label: str) -> None:
    chrome.execute_script("arguments[0].click()", one(chrome, f"#facets input[aria-label='{label}']"))


def test_it_opens_without_an_error_and_without_a_network(opened: Open) -> None:
    chrome = opened()
    for kind in ("browser", "performance"):
        chrome.get_log(kind)  # what was before
    opened()
    assert [entry["message"] for entry in chrome.get_log("browser")] == []
    events = (json.loads(entry["message"])["message"] for entry in chrome.get_log("performance"))
    asked = {event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"}
    assert asked
    assert {url.partition(":")[0] for url in asked} <= {"file", "about", "data", "blob"}
    assert one(chrome, ".progress strong").text == "12 of 63 trials"
    assert "51 of 63 planned trials are not measured yet" in one(chrome, "#findings").text
    panels = all_of(chrome, "[data-chart=capacity] svg")
    assert len(panels) == 2  # a panel for each width
    assert panels[0].rect["width"] == panels[1].rect["width"]
    assert panels[0].rect["height"] == panels[1].rect["height"]


def test_the_table_is_sorted_and_filtered(opened: Open) -> None:
    chrome = opened()
    assert len(column(chrome, "accuracy")) == 12
    down = [float(text.split()[0]) for text in column(chrome, "accuracy")]
    assert down == sorted(down, reverse=True)
    head = next(one for one in all_of(chrome, "#trial-table thead button") if one.text.startswith("accuracy"))
    chrome.execute_script("arguments[0].click()", head)
    assert [float(text.split()[0]) for text in column(chrome, "accuracy")] == sorted(down)
    assert one(chrome, "#trial-table th[aria-sort=ascending]").text.startswith("accuracy")
    one(chrome, "#filter").send_keys("complex width=16")
    assert set(column(chrome, "curve")) == {"complex"}
    assert set(column(chrome, "width")) == {"16"}
    assert one(chrome, "#count").text == "2 of 12 trials"
    one(chrome, "#filter").clear()
    one(chrome, "#filter").send_keys(f"accuracy>{sorted(down)[5] / 100 + 0.0005}")
    assert len(column(chrome, "accuracy")) == 6


def test_a_point_says_which_trial_it_is_and_opens_its_matrix(opened: Open) -> None:
    chrome = opened()
    point = all_of(chrome, "[data-chart=by-cost] .mark-symbol path")[0]
    chrome.execute_script("arguments[0].scrollIntoView({block: 'center'})", point)
    ActionChains(chrome).move_to_element(point).perform()
    until(chrome, "return !document.querySelector('#tip').hidden")
    said = {
        line.find_element(By.TAG_NAME, "span").text: line.find_element(By.TAG_NAME, "b").text
        for line in all_of(chrome, "#tip div")
    }
    assert {"curve", "width", "seed", "learning rate", "mean accuracy", "trial"} <= set(said)
    row = one(chrome, f"#trial-table tr[data-t='{int(said['trial'].rpartition('-')[2])}']")
    assert row.text.split()[0] == said["curve"]
    assert said["mean accuracy"] in row.text
    screenshot(chrome, "hover")
    ActionChains(chrome).click().perform()
    until(chrome, f"return document.querySelector('#matrix-text').textContent.includes({json.dumps(said['trial'])})")
    assert len(all_of(chrome, "#heat .mark-rect.role-mark path")) == 6  # of three tasks


def test_a_row_opens_its_matrix(opened: Open) -> None:
    chrome = opened()
    row = all_of(chrome, "#trial-table tbody tr")[4]
    name = row.find_elements(By.TAG_NAME, "td")[-1].text
    chrome.execute_script("arguments[0].click()", row)
    until(chrome, f"return document.querySelector('#matrix-text').textContent.includes({json.dumps(name)})")


def test_what_is_not_chosen_is_in_no_chart_and_not_in_the_table(opened: Open) -> None:
    chrome = opened()
    whole = points(chrome, "by-cost")
    click_chip(chrome, "curve none")
    until(chrome, "return document.querySelectorAll('#trial-table tbody tr').length === 8")
    WebDriverWait(chrome, 20, 0.1).until(lambda _: points(chrome, "by-cost") == whole * 2 // 3)
    assert "none" not in column(chrome, "curve")
    click_chip(chrome, "width 8")
    until(chrome, "return document.querySelectorAll('[data-chart=capacity] svg').length === 1")
    click_chip(chrome, "seed 1")
    until(chrome, "return document.querySelectorAll('#trial-table tbody tr').length === 2")
    chrome.execute_script("arguments[0].click()", one(chrome, "#reset"))
    until(chrome, "return document.querySelectorAll('#trial-table tbody tr').length === 12")
    until(chrome, "return document.querySelectorAll('[data-chart=capacity] svg').length === 2")


def test_the_keyboard_alone_chooses_and_sorts(opened: Open) -> None:
    chrome = opened()
    chrome.execute_script("document.querySelector('#facets input').focus()")
    ActionChains(chrome).send_keys(Keys.SPACE).perform()
    until(chrome, "return document.querySelectorAll('#trial-table tbody tr').length === 8")
    chrome.execute_script("document.querySelectorAll('#trial-table thead button')[0].focus()")
    ActionChains(chrome).send_keys(Keys.ENTER).perform()
    assert column(chrome, "curve") == ["binary"] * 4 + ["complex"] * 4
    assert chrome.execute_script("return document.activeElement.tagName") == "BUTTON"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_it_fits_the_window_and_is_accessible(opened: Open, size: str, scheme: str) -> None:
    chrome = opened(size, scheme)
    assert chrome.execute_script("return document.documentElement.scrollWidth") == SIZES[size][0]
    background = chrome.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(19, 22, 27)"}[scheme]
    for element in all_of(chrome, "details"):
        chrome.execute_script("arguments[0].open = true", element)
    wrong = Axe().run(chrome)["violations"]
    assert [(each["id"], [node["html"][:200] for node in each["nodes"]][:3]) for each in wrong] == []
    screenshot(chrome, f"{size}-{scheme}")


def test_the_readers_choice_of_colours_stays(opened: Open) -> None:
    chrome = opened()
    chrome.execute_script("document.querySelector('[data-theme-choice=dark]').click()")
    assert chrome.execute_script("return getComputedStyle(document.body).backgroundColor") == "rgb(19, 22, 27)"
    opened()
    assert chrome.execute_script("return document.documentElement.dataset.theme") == "dark"
    chrome.execute_script("document.querySelector('[data-theme-choice=\"\"]').click()")
    assert chrome.execute_script("return document.documentElement.dataset.theme ?? ''") == ""


def test_paper_is_white_and_has_no_controls(opened: Open) -> None:
    chrome = opened(scheme="dark")
    chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    style = "return getComputedStyle(document.querySelector(arguments[0])).{}"
    assert chrome.execute_script(style.format("display"), ".side") == "none"
    assert chrome.execute_script(style.format("backgroundColor"), "body") == "rgb(255, 255, 255)"
    screenshot(chrome, "print")


def test_its_file_name_needs_no_server(address: str) -> None:
    assert address.startswith("file://")
    assert Path(address.removeprefix("file://")).stat().st_size < 5e6
