"""The HTML report, opened from disk in a real headless Chromium."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_prime_train import diagnose
from pytest_prime_train.cli import main
from pytest_prime_train.profiler.api import profile
from pytest_prime_train.profiler.page import render_page
from pytest_prime_train.profiler.series import MOST_POINTS, step_series
from run_simulator import write_clear

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
HOSTILE = '</script><script>document.title="run"</script><img src=x onerror=alert(1)>"\'&'


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium without a window."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip("chromium is not installed")
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=path,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield started
        started.close()


def open_page(browser: Browser, path: Path, **options: Any) -> tuple[Page, list[str]]:
    """Open a file; what the console or a network request would say is in the list."""
    page = browser.new_context(**options).new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append("dialog: " + dialog.message))
    page.on(
        "request",
        lambda request: (
            complaints.append(request.url)
            if not request.url.startswith(("file:", "data:"))
            else None
        ),
    )
    page.goto(path.as_uri())
    return page, complaints


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a run with restarts, checkpoints and evaluations."""
    folder = write_clear(tmp_path_factory.mktemp("report") / "run", "checkpointing")
    path = folder / "metrics.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    again = [{**row, "time": row["time"] + 5000} for row in rows if row["step"] > 18]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows + again))
    out = folder.parent / "report.html"
    assert main(["profile", str(folder), "--format", "html", "--output", str(out)]) == 0
    return out


def test_figures_on_the_page_equal_the_json(browser: Browser, report: Path) -> None:
    page, complaints = open_page(browser, report)
    document = diagnose(report.parent / "run").as_json()
    figures = page.eval_on_selector_all(
        "[data-figure]", "all => all.map(one => [one.dataset.figure, one.value, one.textContent])"
    )
    assert len(figures) > 20
    for key, value, shown in figures:
        expected: Any = document
        for part in key.split("."):
            expected = expected[part]
        assert value == str(expected), key
        if isinstance(expected, float) and "%" in shown:
            assert shown.startswith(f"{100 * expected:.1f} %")
    embedded = page.evaluate("JSON.parse(document.getElementById('diagnosis').textContent)")
    assert embedded == document
    assert page.inner_text("h1") == document["verdict"] == "checkpointing"
    assert complaints == []


def test_restarts_and_checkpoints_are_marked(browser: Browser, report: Path) -> None:
    page, _ = open_page(browser, report)
    for plot in ("time", "waits", "throughput", "staleness"):
        assert page.locator(f"#{plot} svg .restart").count() == 1
        assert page.locator(f"#{plot} svg .save").count() == 11
    assert page.locator("#time polygon").count() == 6
    box = page.locator("#time polygon.saving").bounding_box()
    assert box is not None
    assert box["width"] > 300


def test_plots_are_read_by_keyboard(browser: Browser, report: Path) -> None:
    page, complaints = open_page(browser, report)
    plots = page.locator(".plot")
    for number in range(plots.count()):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "plot"
        page.keyboard.press("Home")
        name = page.evaluate("document.activeElement.id")
        assert page.inner_text(f"#{name}-reading").startswith("step 1: ")
        page.keyboard.press("ArrowRight")
        assert page.inner_text(f"#{name}-reading").startswith("step 2: ")
        assert number < 5
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.locator("details table tbody tr").first.is_visible()
    assert complaints == []


CONTRAST = """
() => {
  const curve = (c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  const weights = [0.2126, 0.7152, 0.0722];
  const light = (rgb) => weights.reduce((sum, w, i) => sum + w * curve(rgb[i] / 255), 0);
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const ratio = (a, b) => {
    const [high, low] = [light(a), light(b)].sort((p, q) => q - p);
    return (high + 0.05) / (low + 0.05);
  };
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const color = parse(getComputedStyle(node).backgroundColor);
      if (color.length < 4 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  const paper = ground(document.body);
  const bad = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((one) => one.nodeType === 3 && one.textContent.trim());
    if (own && !["SCRIPT", "STYLE"].includes(node.tagName)) {
      const found = ratio(parse(getComputedStyle(node).color), ground(node));
      if (found < 4.5) bad.push([node.outerHTML.slice(0, 80), found]);
    }
  }
  for (const node of document.querySelectorAll("polygon")) {
    const found = ratio(parse(getComputedStyle(node).fill), paper);
    if (found < 3) bad.push([node.outerHTML.slice(0, 40), found]);
  }
  for (const node of document.querySelectorAll("polyline, line.restart, line.save, line.exam")) {
    const found = ratio(parse(getComputedStyle(node).stroke), paper);
    if (found < 3) bad.push([node.outerHTML.slice(0, 40), found]);
  }
  return bad;
}
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
def test_the_page_is_readable_everywhere(
    browser: Browser, report: Path, scheme: Any, width: int
) -> None:
    page, complaints = open_page(
        browser, report, color_scheme=scheme, viewport={"width": width, "height": 800}
    )
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(CONTRAST) == []
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
    small = page.eval_on_selector_all(
        "body *", "all => all.filter(one => parseFloat(getComputedStyle(one).fontSize) < 12).length"
    )
    assert small == 0
    assert complaints == []


def test_everything_that_is_shown_has_a_label(browser: Browser, report: Path) -> None:
    page, _ = open_page(browser, report)
    assert page.evaluate("document.documentElement.lang") == "en"
    assert "checkpointing" in page.title()
    assert page.locator("main").count() == page.locator("h1").count() == 1
    for number in range(page.locator(".plot").count()):
        assert page.locator(".plot").nth(number).get_attribute("aria-label")
    for table in page.locator("table").all():
        assert table.locator("thead th[scope=col]").count() > 1


def test_printed_it_is_dark_on_white_whatever_the_scheme(browser: Browser, report: Path) -> None:
    page, _ = open_page(browser, report, color_scheme="dark")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate(CONTRAST) == []
    assert len(page.pdf()) > 10_000


def test_without_its_script_the_page_says_the_same(browser: Browser, report: Path) -> None:
    page, _ = open_page(browser, report, java_script_enabled=False)
    assert page.inner_text("h1") == "checkpointing"
    assert page.locator("#time polygon").count() == 6


def test_hostile_names_are_shown_and_do_nothing(browser: Browser, tmp_path: Path) -> None:
    name = HOSTILE.replace("/", "\u2215")
    folder = tmp_path / name
    write_clear(folder, "inference-cap")
    path = folder / "metrics.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        row[HOSTILE] = 1.0
        for key in list(row):
            if key.startswith("train/agg/all/policy/"):
                row[key.replace("policy", f"policy{HOSTILE}")] = row.pop(key)
    rows[9]["time/step"] = float("nan")
    rows[30]["time/wait_for_batch"] = 10**350
    path.write_bytes(
        b"\x00\xff" + "".join(json.dumps(row) + "\n" for row in rows).encode() + b'{"st'
    )
    out = tmp_path / "report.html"
    assert main(["profile", str(folder), "--format", "html", "--output", str(out)]) == 0
    page, complaints = open_page(browser, out)
    assert complaints == []
    assert page.locator("img").count() == 0
    assert page.title() != "run"
    assert name in page.inner_text("header")
    assert page.evaluate("JSON.parse(document.getElementById('diagnosis').textContent).source")


def test_a_run_of_ten_thousand_steps_opens_at_once(browser: Browser, tmp_path: Path) -> None:
    write_long_run(tmp_path / "metrics.jsonl", 10_000)
    out = tmp_path / "report.html"
    made = profile(tmp_path)
    out.write_text(render_page(made))
    assert len(step_series(made.run).steps) <= MOST_POINTS
    page, complaints = open_page(browser, out)
    timing = page.evaluate("performance.getEntriesByType('navigation')[0].toJSON()")
    assert timing["loadEventEnd"] < 2000
    assert out.stat().st_size < 1_000_000
    assert page.locator("#time .steps, .steps").first.inner_text().startswith("step 1")
    assert complaints == []


def write_long_run(path: Path, steps: int) -> None:
    """A run of the trainer and the orchestrator, with lumps but no simulation."""
    with path.open("w") as file:
        for step in range(1, steps + 1):
            moment = 1_780_000_000 + 30 * step
            save = 40.0 if step % 50 == 0 else 0.0
            wait = 2.0 + step % 7
            times = {
                "time/step": 20.0 + wait + save,
                "time/wait_for_batch": wait,
                "time/load_data": 0.5,
                "time/forward_backward": 18.5,
                "time/broadcast_weights": 1.0,
                "time/save_ckpt": save,
            }
            file.write(json.dumps({"step": step, "time": moment, **times}) + "\n")
            row = {"progress/tokens": 1000, "time/step": 25.0, "time/wait_for_policy": 0.5}
            file.write(json.dumps({"step": step, "time": moment, **row}) + "\n")


def test_the_page_needs_no_browser_to_be_safe(tmp_path: Path) -> None:
    folder = write_clear(tmp_path / "a<b>&", "trainer")
    text = render_page(profile(folder))
    assert "<b>" not in text
    assert "http:" not in text.replace("http-equiv", "")
    assert "https:" not in text
    assert os.linesep.encode() in text.encode()


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_a_run_of_few_steps_has_a_page(tmp_path: Path, steps: int) -> None:
    write_long_run(tmp_path / "metrics.jsonl", max(steps, 1))
    if not steps:
        (tmp_path / "metrics.jsonl").write_text(
            '{"_timestamp": 1780000000, "event_loop_lag/p99": 1.0}\n'
        )
    assert "undetermined" in render_page(profile(tmp_path))
