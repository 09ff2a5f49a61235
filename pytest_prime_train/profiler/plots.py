"""Plots as plain SVG that stretches to its place; their labels are HTML, so that they do not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import NamedTuple

from pytest_prime_train.profiler.series import StepSeries

WIDTH = 1000
HEIGHT = 200


class Line(NamedTuple):
    """One series of a plot.

    Attributes:
        name: Its name in the series.
        label: Its name for people.
        style: Class of its colour.
    """

    name: str
    label: str
    style: str


def stacked_plot(name: str, title: str, layers: Sequence[Line], series: StepSeries) -> str:
    """Areas upon each other."""
    columns = {one.name: [value or 0.0 for value in series.values[one.name]] for one in layers}
    count = len(series.steps)
    top = max((sum(column[i] for column in columns.values()) for i in range(count)), default=0.0)
    floor = [0.0] * count
    shapes = []
    for layer in layers:
        roof = [low + value for low, value in zip(floor, columns[layer.name], strict=True)]
        upper = _points(roof, top)
        lower = list(reversed(_points(floor, top)))
        shapes.append(f'<polygon class="{layer.style}" points="{" ".join([*upper, *lower])}"/>')
        floor = roof
    return _figure(name, title, layers, series, shapes, top)


def lines_plot(name: str, title: str, lines: Sequence[Line], series: StepSeries) -> str:
    """Lines, which have gaps where nothing is known; empty where no line has anything."""
    known = [value for line in lines for value in series.values[line.name] if value is not None]
    if not known:
        return ""
    top = max(known)
    shapes = [
        f'<polyline class="line {line.style}" points="{" ".join(part)}"/>'
        for line in lines
        for part in _parts(series.values[line.name], top)
    ]
    return _figure(name, title, lines, series, shapes, top)


def _x(place: int, count: int) -> float:
    return WIDTH * place / (count - 1) if count > 1 else 0.0


def _y(value: float, top: float) -> float:
    return HEIGHT * (1 - value / top) if top > 0 else float(HEIGHT)


def _points(values: Sequence[float], top: float) -> list[str]:
    count = len(values)
    points = [f"{_x(i, count):.1f},{_y(value, top):.1f}" for i, value in enumerate(values)]
    # A single step is drawn across the whole width.
    return points if count > 1 else [*points, f"{WIDTH}{points[0][points[0].index(',') :]}"]


def _parts(values: Sequence[float | None], top: float) -> Iterator[list[str]]:
    count = len(values)
    part: list[str] = []
    for place, value in enumerate(values):
        if value is None:
            if part:
                yield part
            part = []
        else:
            part.append(f"{_x(place, count):.1f},{_y(value, top):.1f}")
    if part:
        yield part


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _marks(series: StepSeries) -> Iterator[str]:
    count = len(series.steps)
    for style, places, low, high in (
        ("restart", series.restarts, 0, HEIGHT),
        ("save", series.saves, HEIGHT - 10, HEIGHT),
        ("exam", series.evaluations, 0, 10),
    ):
        for place in places:
            x = f"{_x(place, count):.1f}"
            yield f'<line class="{style}" x1="{x}" x2="{x}" y1="{low}" y2="{high}"/>'


def _figure(
    name: str,
    title: str,
    lines: Sequence[Line],
    series: StepSeries,
    shapes: Sequence[str],
    top: float,
) -> str:
    legend = "".join(
        f'<li><span class="key {line.style}" aria-hidden="true"></span>{escape(line.label)}</li>'
        for line in lines
    )
    first, last = series.steps[0], series.steps[-1]
    middle = series.steps[len(series.steps) // 2]
    label = f"{title}, steps {first} to {last}, at most {_shown(top)}"
    names = " ".join(line.name for line in lines)
    return (
        f'<figure><figcaption id="{name}-title">{escape(title)}</figcaption>'
        f'<ul class="legend">{legend}</ul>'
        f'<div class="plot" id="{name}" tabindex="0" role="img" aria-label="{escape(label)}" '
        f'aria-describedby="{name}-reading" data-series="{names}" data-reading="{name}-reading">'
        f'<span class="top">{_shown(top)}</span><span class="bottom">0</span>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" aria-hidden="true" '
        f'focusable="false">{"".join(shapes)}{"".join(_marks(series))}'
        f'<line class="cursor" x1="0" x2="0" y1="0" y2="{HEIGHT}"/></svg></div>'
        f'<div class="steps"><span>step {first}</span><span>{middle}</span>'
        f"<span>{last}</span></div>"
        f'<output class="reading" id="{name}-reading" aria-live="polite"></output></figure>'
    )
