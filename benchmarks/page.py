"""How fast the page answers in a browser: the first view, and changes of a slider on every view.

``python benchmarks/page.py [CHANGES]`` serves the page, opens it in Chromium without a screen, and times each change
from the key that moves the slider to the figure that is drawn anew. It needs chromium, its driver and selenium.
"""

from __future__ import annotations

import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from selenium import webdriver

from kvwall.simulator.page.sliders import SLIDERS

VIEWS = ("Plan", "Compare", "Explain", "Capacity", "Break-even", "Pareto", "Sensitivity")
#: The slider that changes what a view shows.
MOVED = {"Plan": "users", "Pareto": "users", "Break-even": "bandwidth"}
STEPS = {slider.name: 4 * (slider.high - slider.low) for slider in SLIDERS}
HOME, RIGHT = "\ue011", "\ue014"
_WATCH = """
const [name, done] = arguments;
const handle = document.querySelector(`#${name}-slider [role=slider]`);
const graph = [...document.querySelectorAll('#figures > :not(.away) .js-plotly-plot')][0];
window.kvwall = {};
handle.addEventListener('keydown', () => { window.kvwall.from = performance.now(); }, {once: true});
graph.once('plotly_afterplot', () => { window.kvwall.to = performance.now(); });
"""


@contextmanager
def served() -> Iterator[str]:
    """The address of a page that is served."""
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


def first_view(driver: Any, address: str) -> float:
    """Seconds from asking for the page to its first figure."""
    while True:
        started = time.perf_counter()
        try:
            driver.get(address)
            break
        except Exception:
            time.sleep(0.1)
    while not driver.find_elements("css selector", "#figures > :not(.away) .main-svg"):
        time.sleep(0.01)
    return time.perf_counter() - started


def change(driver: Any, slider: str, key: str) -> float:
    """Seconds from one key on a slider to the figure drawn anew."""
    driver.execute_script(_WATCH, slider)
    driver.find_element("css selector", f"#{slider}-slider [role=slider]").send_keys(key)
    until = time.monotonic() + 20
    while time.monotonic() < until:
        found = driver.execute_script("return window.kvwall.to && window.kvwall.to - window.kvwall.from")
        if found:
            time.sleep(0.05)
            return float(found) / 1e3
        time.sleep(0.01)
    raise SystemExit(f"the slider {slider} changed no figure")


def main(changes: int) -> None:
    """Print the first view's time, and the median and the slowest tenth of changes by view."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1300,1500"):
        options.add_argument(argument)
    with served() as address:
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
        try:
            first_view(driver, address)
            print(f"first view, second visit: {first_view(driver, address):.2f} s")
            time.sleep(10)  # what the server begins early is over
            for view in VIEWS:
                next(t for t in driver.find_elements("css selector", ".tab") if t.text == view).click()
                time.sleep(1.5)
                slider = MOVED.get(view, "context")
                steps = STEPS[slider]
                # From the low end up, so that no value is asked for twice.
                driver.find_element("css selector", f"#{slider}-slider [role=slider]").send_keys(HOME)
                time.sleep(1.5)
                taken = sorted(change(driver, slider, RIGHT) for _ in range(min(changes, steps)))
                slow = taken[int(0.9 * len(taken))]
                print(f"{view:12s} {slider:10s} median {statistics.median(taken):.2f} s, slowest tenth {slow:.2f} s")
        finally:
            driver.quit()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50)
