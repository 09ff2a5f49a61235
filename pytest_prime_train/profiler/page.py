"""The profile as one HTML file: no network, no library, readable without its script.

Everything that comes from a run is escaped. A content security policy forbids all but the page's
own style and script, so that nothing in a name could run even if it got through.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from html import escape as escape_html
from importlib.resources import files
from typing import Any

from pytest_prime_train.profiler.api import Profile
from pytest_prime_train.profiler.diagnosis import Diagnosis
from pytest_prime_train.profiler.plots import Line, lines_plot, stacked_plot
from pytest_prime_train.profiler.series import LABELS, PARTS, StepSeries, step_series
from pytest_prime_train.profiler.text import SENTENCES, written
from pytest_prime_train.report.console import clean

CLASSES = {
    "wait_for_batch": "wait",
    "load_data": "load",
    "forward_backward": "work",
    "broadcast_weights": "sync",
    "save_ckpt": "saving",
    "other": "other",
}
MOST_ROWS = 100


def render_page(profile: Profile) -> str:
    """The page."""
    diagnosis = profile.diagnosis
    series = step_series(profile.run)
    style, script = _data("page.css"), _data("page.js")
    title = f"{diagnosis.verdict}: {_name(diagnosis)}"
    policy = (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src '{_hash(script)}'; base-uri 'none'; form-action 'none'"
    )
    body = "\n".join(_body(diagnosis, series))
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n{body}\n"
        f"{_json('diagnosis', diagnosis.as_json())}\n{_json('series', series.as_json())}\n"
        f"<script>{script}</script>\n</body>\n</html>\n"
    )


def escape(text: str) -> str:
    """Text for HTML, in attributes as well; what is not printable appears as an escape."""
    return escape_html(clean(text), quote=True)


def _json(name: str, data: Any) -> str:
    """JSON in an element that runs nothing, with no character that could end it."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return f'<script type="application/json" id="{name}">{text}</script>'


def _data(name: str) -> str:
    return (files("pytest_prime_train.profiler") / "data" / name).read_text("utf-8")


def _hash(script: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _name(diagnosis: Diagnosis) -> str:
    return diagnosis.source.rstrip("/").rpartition("/")[2] or diagnosis.source or "run"


def figure(key: str, value: float | int | str, shown: str) -> str:
    """A number with its exact value and its place in the JSON."""
    return f'<data data-figure="{escape(key)}" value="{escape(str(value))}">{escape(shown)}</data>'


def _body(diagnosis: Diagnosis, series: StepSeries) -> Iterator[str]:
    document = diagnosis.as_json()
    yield "<header>"
    yield f"<h1>{figure('verdict', diagnosis.verdict, diagnosis.verdict)}</h1>"
    yield f'<div class="lead"><p><strong>{escape(SENTENCES[diagnosis.verdict])}.</strong></p>'
    if diagnosis.why:
        yield f"<p>{escape(diagnosis.why)}.</p>"
    if diagnosis.contributing:
        yield f"<p>Also: {escape(', '.join(diagnosis.contributing))}.</p>"
    yield "</div>"
    yield f'<p class="soft">{escape(diagnosis.source)}</p></header>'
    yield "<main>"
    yield from _facts(document)
    yield from _remedies(diagnosis)
    yield from _missing(diagnosis)
    yield from _shares(document["shares"])
    if series.steps:
        yield from _plots(series)
    yield from _gains(document["gains"])
    if series.steps:
        yield from _table(series)
    yield "</main>"


def _facts(document: dict[str, Any]) -> Iterator[str]:
    idle = document["idle"]
    facts: list[tuple[str, str, Any, str]] = [
        ("confidence", "confidence", document["confidence"], "{:.2f}"),
        ("upper bound of the gain", "gain_upper_bound", document["gain_upper_bound"], "%"),
        ("seconds a step", "step_seconds", document["step_seconds"], "{:.1f}"),
        ("steady steps", "steps_used", document["steps_used"], "{}"),
        ("attempts", "attempts", document["attempts"], "{}"),
        (
            "idle, trainer's GPU hours",
            "idle.trainer_gpu_hours",
            idle["trainer_gpu_hours"],
            "{:.1f}",
        ),
        (
            "idle, engines' GPU hours",
            "idle.inference_gpu_hours",
            idle["inference_gpu_hours"],
            "{:.1f}",
        ),
        ("idle, US dollars", "idle.usd", idle["usd"], "{:.2f}"),
        ("steps lost to restarts", "idle.repeated_steps", idle["repeated_steps"] or None, "{}"),
    ]
    yield '<dl class="facts">'
    for label, key, value, form in facts:
        if value is not None:
            shown = f"{100 * value:.1f} %" if form == "%" else form.format(value)
            yield f"<div><dt>{label}</dt><dd>{figure(key, value, shown)}</dd></div>"
    yield "</dl>"


def _remedies(diagnosis: Diagnosis) -> Iterator[str]:
    if not diagnosis.remedies:
        return
    yield "<h2>What to do</h2><ol>"
    for remedy in diagnosis.remedies:
        yield f"<li><code>{escape(written(remedy))}</code><br>{escape(remedy.why)}</li>"
    yield "</ol>"


def _missing(diagnosis: Diagnosis) -> Iterator[str]:
    if diagnosis.missing:
        needed = diagnosis.verdict == "undetermined"
        yield f"<h2>{'Needed to tell' if needed else 'Not known, for want of'}</h2><ul>"
        yield from (f"<li>{escape(one)}</li>" for one in diagnosis.missing)
        yield "</ul>"
    if diagnosis.notes:
        yield "<h2>About the metrics</h2><ul>"
        yield from (f"<li>{escape(note)}</li>" for note in diagnosis.notes)
        yield "</ul>"


def _shares(shares: dict[str, float | None]) -> Iterator[str]:
    known = [(name, shares[name]) for name in PARTS if shares.get(name) is not None]
    if not known:
        return
    yield '<h2 id="shares">Where a step goes</h2>'
    yield '<div class="share" aria-hidden="true">'
    for name, share in known:
        yield f'<span class="{CLASSES[name]}" style="width:{100 * (share or 0):.2f}%"></span>'
    yield "</div>"
    yield '<table aria-labelledby="shares"><thead><tr><th scope="col">part of the trainer\'s step'
    yield '</th><th scope="col">share</th></tr></thead><tbody>'
    for name, share in known:
        key = f'<span class="key {CLASSES[name]}" aria-hidden="true"></span>'
        shown = figure(f"shares.{name}", share or 0.0, f"{100 * (share or 0):.1f} %")
        yield f'<tr><th scope="row">{key}{LABELS[name]}</th><td>{shown}</td></tr>'
    hold = shares.get("wait_for_policy")
    if hold is not None:
        shown = figure("shares.wait_for_policy", hold, f"{100 * hold:.1f} %")
        yield (
            '<tr><th scope="row">beside it, of the orchestrator\'s time: waits for weights</th>'
            f"<td>{shown}</td></tr>"
        )
    yield "</tbody></table>"


def _plots(series: StepSeries) -> Iterator[str]:
    yield "<h2>Step by step</h2>"
    each = "" if series.per_point == 1 else f" Each point is the mean of {series.per_point} steps."
    yield (
        f'<p class="soft">Dashed lines: restarts. Short marks below: checkpoints; above: '
        f"evaluations.{each} Arrow keys move the reading in a plot.</p>"
    )
    layers = [Line(name, LABELS[name], CLASSES[name]) for name in PARTS]
    yield stacked_plot("time", "Seconds of a step", layers, series)
    yield lines_plot(
        "waits",
        "Waits of both halves, % of their time",
        [
            Line("trainer_waits", LABELS["trainer_waits"], "one"),
            Line("engines_wait", LABELS["engines_wait"], "two"),
        ],
        series,
    )
    yield lines_plot(
        "throughput",
        "Throughput, tokens/s",
        [Line("throughput", LABELS["throughput"], "one")],
        series,
    )
    yield lines_plot(
        "staleness",
        "Staleness, policy versions",
        [
            Line("staleness", LABELS["staleness"], "one"),
            Line("staleness_max", LABELS["staleness_max"], "two"),
        ],
        series,
    )


def _gains(gains: dict[str, dict[str, float]]) -> Iterator[str]:
    if not gains:
        return
    yield '<h2 id="gains">What each lever would bring</h2>'
    yield (
        '<p class="soft">A resource a fifth faster or a fourth larger, a habit halved, '
        "stragglers ended at their 90th percentile.</p>"
    )
    yield '<table aria-labelledby="gains"><thead><tr><th scope="col">stage</th>'
    yield '<th scope="col">more steps an hour</th><th scope="col">at most, were it free</th>'
    yield "</tr></thead><tbody>"
    for stage, gain in gains.items():
        one = figure(f"gains.{stage}.gain", gain["gain"], f"{100 * gain['gain']:.1f} %")
        most = gain["upper_bound"]
        two = figure(f"gains.{stage}.upper_bound", most, f"{100 * most:.1f} % of a step")
        yield f'<tr><th scope="row">{escape(stage)}</th><td>{one}</td><td>{two}</td></tr>'
    yield "</tbody></table>"


def _table(series: StepSeries) -> Iterator[str]:
    names = [name for name in LABELS if any(v is not None for v in series.values.get(name, ()))]
    every = -(-len(series.steps) // MOST_ROWS)
    yield "<details><summary>The numbers behind the plots</summary>"
    yield '<div class="scroll" tabindex="0" role="region" aria-label="Numbers behind the plots">'
    yield '<table><thead><tr><th scope="col">step</th>'
    yield from (f'<th scope="col">{LABELS[name]}</th>' for name in names)
    yield "</tr></thead><tbody>"
    for place in range(0, len(series.steps), every):
        cells = "".join(_cell(series.values[name], place) for name in names)
        yield f'<tr><th scope="row">{series.steps[place]}</th>{cells}</tr>'
    yield "</tbody></table></div></details>"


def _cell(values: Sequence[float | None], place: int) -> str:
    value = values[place]
    return "<td></td>" if value is None else f"<td>{value:g}</td>"
