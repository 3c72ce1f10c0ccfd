"""How fast the page answers in a browser: the first view, and changes of a slider on every view.

``python benchmarks/page.py ADDRESS [CHANGES]`` opens a page that ``kvwall dashboard`` serves, in Chromium without a
screen, and times each change from the key that moves a slider to the figure that is drawn anew. It needs chromium, its
driver and selenium.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import time
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


def first_view(driver: Any, address: str) -> float:
    """Seconds from asking for the page to its first figure."""
    started = time.perf_counter()
    driver.get(address)
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


def main(address: str, changes: int) -> None:
    """Print the first view's time, and the median and the slowest tenth of changes by view."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1300,1500"):
        options.add_argument(argument)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        first_view(driver, address)
        print(f"first view, second visit: {first_view(driver, address):.2f} s")
        time.sleep(10)  # what the server begins early is over
        for view in VIEWS:
            next(t for t in driver.find_elements("css selector", ".tab") if t.text == view).click()
            time.sleep(1.5)
            slider = MOVED.get(view, "context")
            # From the low end up, so that no value is asked for twice.
            driver.find_element("css selector", f"#{slider}-slider [role=slider]").send_keys(HOME)
            time.sleep(1.5)
            taken = sorted(change(driver, slider, RIGHT) for _ in range(min(changes, STEPS[slider])))
            slow = taken[int(0.9 * len(taken))]
            print(f"{view:12s} {slider:10s} median {statistics.median(taken):.2f} s, slowest tenth {slow:.2f} s")
    finally:
        driver.quit()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 50)
