"""The page in a real browser: every view without an error, numbers as on the command line, and no request elsewhere.

Needs Chromium, its driver, selenium and dash; skipped where one is missing. ``KVWALL_SCREENSHOTS`` names a folder for
pictures of each view.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kvwall.simulator.answers.compare import compare

pytest.importorskip("dash", reason="the page needs dash")
webdriver = pytest.importorskip("selenium.webdriver", reason="a browser test needs selenium")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(CHROMIUM is None or DRIVER is None, reason="no Chromium, or no driver of it")

VIEWS = (
    "Plan", "Compare", "Explain", "Capacity", "Break-even", "Pareto", "Sensitivity", "Calibration", "Papers",
)  # fmt: skip
PATIENCE_S = 30


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The page, served by the command."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code = "from kvwall.simulator.cli.main import run; run()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "dashboard", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a screen that writes down its console and its requests."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1300,1500"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


def wait(ready: Callable[[], Any], what: str) -> Any:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        try:
            found = ready()
        except Exception:  # an element that is being replaced is not ready
            found = None
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {PATIENCE_S} s")


def by(browser: Any, css: str) -> Any:
    return browser.find_element("css selector", css)


def opened(browser: Any, address: str) -> None:
    def loaded() -> Any:
        browser.get(address)
        return by(browser, "#says")

    wait(loaded, "the server")
    wait(lambda: by(browser, "#says").text and by(browser, ".main-svg"), "the first view")


def choose(browser: Any, view: str) -> None:
    before = by(browser, "#command").get_attribute("textContent") + by(browser, "#says").text
    next(tab for tab in browser.find_elements("css selector", ".tab") if tab.text == view).click()
    wait(lambda: by(browser, "#command").get_attribute("textContent") + by(browser, "#says").text != before, view)
    wait(lambda: by(browser, "#place-0:not(.away) .main-svg"), f"figures of {view}")


def set_field(browser: Any, name: str, text: str) -> None:
    field = by(browser, f"#{name}")
    field.send_keys("\ue009a\ue000", text, "\ue007")  # Ctrl-A, the text, Enter


def test_every_view_loads_without_an_error_and_asks_nobody_else(server: str, browser: Any) -> None:
    opened(browser, server)
    browser.get_log("performance")
    for view in VIEWS:
        if view != VIEWS[0]:
            choose(browser, view)
        assert not by(browser, "#error").text
        folder = os.environ.get("KVWALL_SCREENSHOTS")
        if folder:
            time.sleep(0.5)
            browser.save_screenshot(str(Path(folder) / f"{view.lower()}.png"))
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    requests = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [r["params"]["request"]["url"] for r in requests if r["method"] == "Network.requestWillBeSent"]
    assert asked
    assert all(url.startswith((server, "data:", "blob:")) for url in asked), asked


def test_numbers_are_those_of_the_command_line(server: str, browser: Any) -> None:
    opened(browser, server)
    choose(browser, "Compare")
    set_field(browser, "context", "16k")
    rows: Any = compare("llama-3.1-8b", on="h100", schemes=["none", "snapkv:budget=1024"], batch=[32], context=[16384])
    fastest = rows.rows[1]
    told = f"snapkv:budget=1024 is the fastest: {fastest.step_s.mid * 1e3:.2f} ms a step"
    wait(lambda: "context=16k" in browser.current_url, "the link")
    wait(lambda: by(browser, "#says").text.startswith(told), told)


def test_a_slider_moves_the_numbers_and_the_link(server: str, browser: Any) -> None:
    opened(browser, server)
    choose(browser, "Capacity")
    before = by(browser, "#says").text
    handle = by(browser, "#context-slider [role=slider]")
    handle.send_keys("\ue014")  # arrow to the right: a quarter of a power of two
    wait(lambda: by(browser, "#says").text != before, "the slider")
    value = by(browser, "#context").get_attribute("value")
    assert value == str(round(2**13.25))
    wait(lambda: f"context={value}" in browser.current_url, "the link")


def test_a_bandwidth_slider_is_written_with_its_unit(server: str, browser: Any) -> None:
    opened(browser, server)
    choose(browser, "Compare")
    before = by(browser, "#says").text
    by(browser, "#bandwidth-slider [role=slider]").send_keys("\ue014")
    wait(lambda: by(browser, "#bandwidth").get_attribute("value") == "4 TB/s", "the field")
    wait(lambda: by(browser, "#says").text != before, "the numbers")
    assert "device.hbm.bandwidth=4 TB/s" in by(browser, "#command").get_attribute("textContent")


def test_a_pressed_bar_says_its_equation_with_numbers(server: str, browser: Any) -> None:
    opened(browser, server)
    choose(browser, "Explain")
    bar = wait(lambda: by(browser, "#place-0 .bars .point path"), "a bar")
    webdriver.ActionChains(browser).move_to_element(bar).click().perform()
    told = wait(lambda: by(browser, "#equation").text, "the equation")
    assert " = 32 * " in told
    assert "ms of the step" in told
    choose(browser, "Capacity")
    wait(lambda: not by(browser, "#equation").text, "the equation's end")


def test_a_stack_is_built_judged_and_taken_away(server: str, browser: Any) -> None:
    opened(browser, server)
    set_field(browser, "schemes", "none")
    by(browser, "#builder summary").click()
    by(browser, "#pick").click()
    wait(lambda: by(browser, ".dash-dropdown-search"), "the list of schemes")
    browser.switch_to.active_element.send_keys("kivi")
    browser.switch_to.active_element.send_keys("\ue015\ue007")  # down, Enter
    wait(lambda: "kivi: 24,576 bytes per token" in by(browser, "#verdict").text, "the verdict")
    option = by(browser, "#options input")
    option.send_keys("3\ue007")
    wait(lambda: "bits" in by(browser, "#verdict .refused").text, "the refusal")
    assert by(browser, "#beside").get_attribute("disabled")
    option.send_keys("\ue009a\ue000", "4\ue007")
    wait(lambda: not by(browser, "#beside").get_attribute("disabled"), "the button")
    by(browser, "#beside").click()
    wait(lambda: by(browser, "#schemes").get_attribute("value") == "none;kivi:bits=4", "the list")
    wait(lambda: len(browser.find_elements("css selector", "#stacks li button")) == 2, "both in the list")
    by(browser, "#stacks li button").click()
    wait(lambda: by(browser, "#schemes").get_attribute("value") == "kivi:bits=4", "what is left")


def test_a_link_reproduces_the_view(server: str, browser: Any) -> None:
    opened(browser, f"{server}?model=qwen3-32b&on=h200%3A2&context=32k")
    wait(lambda: by(browser, "#model").get_attribute("value") == "qwen3-32b", "the model of the link")
    wait(lambda: "qwen3-32b" in by(browser, "#command").get_attribute("textContent"), "the command of the link")
    assert by(browser, "#context").get_attribute("value") == "32k"


def test_what_is_wrong_is_one_line_as_on_the_command_line(server: str, browser: Any) -> None:
    opened(browser, server)
    set_field(browser, "model", "lama-3.1-8b")
    wait(lambda: "did you mean 'llama-3.1-8b'" in by(browser, "#error").text, "the error")
    set_field(browser, "model", "<img src=x onerror=document.title='hacked'>")
    wait(lambda: "<img src=x" in by(browser, "#error").text, "the text of the error")
    assert browser.title == "kvwall"


def test_a_phone_sees_it_too(server: str, browser: Any) -> None:
    browser.set_window_size(500, 900)
    try:
        opened(browser, server)
        wide = browser.execute_script("return document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 1
    finally:
        browser.set_window_size(1300, 1500)


def test_an_exported_file_works_without_a_server(browser: Any, tmp_path: Path) -> None:
    code = "from kvwall.simulator.cli.main import run; run()"
    file = tmp_path / "page.html"
    subprocess.run([sys.executable, "-c", code, "dashboard", "--export", str(file)], check=True, capture_output=True)
    browser.get_log("browser")
    browser.get(file.as_uri())
    wait(lambda: by(browser, "#grid-figure .main-svg"), "the figure of the grid")
    first: Any = compare("llama-3.1-8b", on="h100", schemes=["none"], batch=[32], context=[8192]).rows[0]
    bars = "return document.getElementById('grid-figure').data[0].x"
    assert browser.execute_script(bars)[0] == pytest.approx(first.step_s.mid * 1e3, rel=1e-5)
    slider = by(browser, "#grid-context")
    slider.send_keys("\ue014")
    second: Any = compare("llama-3.1-8b", on="h100", schemes=["none"], batch=[32], context=[16384]).rows[0]
    wait(lambda: browser.execute_script(bars)[0] == pytest.approx(second.step_s.mid * 1e3, rel=1e-5), "the slider")
    by(browser, "#grid-scheme-0").click()
    assert len(browser.execute_script(bars)) == 4
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
