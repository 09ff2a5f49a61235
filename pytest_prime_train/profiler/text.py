"""A diagnosis as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_prime_train.profiler.compare import Comparison
from pytest_prime_train.profiler.diagnosis import Diagnosis, Idle, Remedy
from pytest_prime_train.report.console import clean

_BAR = 30

SENTENCES = {
    "trainer": "the trainer is the bottleneck; the engines wait for it",
    "inference-capacity": "the engines are at their limit; the trainer waits for them",
    "inference-cap": "the engines could do more, but not enough episodes are in flight",
    "environment": "environments, tools or scoring take most of an episode",
    "long-tail": "a few stragglers hold up the rest",
    "weight-sync": "getting new weights to the engines takes the time",
    "checkpointing": "checkpoints take the time",
    "orchestrator-loop": "the orchestrator's own process is at its limit",
    "data-load": "the trainer spends its time unpacking batches",
    "waste": "much of what is generated is thrown away",
    "evaluation": "evaluations take the engines from training",
    "balanced": "both halves are about equally fast",
    "unstable": "the run changes too much to be judged as a whole",
    "undetermined": "it cannot be told from these metrics",
}
"""What each verdict means, in words."""


def render(diagnosis: Diagnosis) -> str:
    """The whole of it, a line each, ending with a line end."""
    return "".join(f"{line}\n" for line in _lines(diagnosis))


def headline(diagnosis: Diagnosis) -> str:
    """Verdict and meaning in one line."""
    sure = f", confidence {diagnosis.confidence:.2f}" if diagnosis.confidence else ""
    return f"{diagnosis.verdict}: {SENTENCES[diagnosis.verdict]}{sure}"


def _lines(diagnosis: Diagnosis) -> Iterator[str]:
    yield headline(diagnosis)
    if diagnosis.why:
        yield f"  {clean(diagnosis.why)}"
    bound = diagnosis.gain_upper_bound
    if bound is not None:
        yield f"  were it free, a step would take {100 * bound:.0f} % less time"
    if diagnosis.contributing:
        yield f"  also: {', '.join(diagnosis.contributing)}"
    if diagnosis.step_seconds is not None and diagnosis.steps_used:
        yield ""
        yield (
            f"{diagnosis.step_seconds:.1f} s a step, over {diagnosis.steps_used} steady steps of "
            f"{diagnosis.attempts} attempt{'s' if diagnosis.attempts != 1 else ''}"
        )
        for name, share in diagnosis.shares.items():
            if share == share:
                bar = "#" * round(_BAR * min(share, 1.0))
                yield f"  {name:<18}{100 * share:6.1f} %  {bar}".rstrip()
    yield from _gains(diagnosis)
    yield from _idle(diagnosis.idle)
    if diagnosis.remedies:
        yield ""
        yield "what to do:"
        for remedy in diagnosis.remedies:
            yield f"  {written(remedy)}"
            yield f"      {clean(remedy.why)}"
    if diagnosis.missing:
        yield ""
        needed = diagnosis.verdict == "undetermined"
        yield "to tell, this is needed:" if needed else "not known, for want of:"
        yield from (f"  {clean(one)}" for one in diagnosis.missing)
    if diagnosis.notes:
        yield ""
        yield from (clean(note) for note in diagnosis.notes)


def written(remedy: Remedy) -> str:
    """A remedy as a line of TOML; its key alone where a person has to decide."""
    value = remedy.value
    if value is None:
        return clean(remedy.key)
    if isinstance(value, bool):
        shown = str(value).lower()
    elif isinstance(value, str):
        shown = f'"{value}"'
    else:
        shown = str(value)
    return clean(f"{remedy.key} = {shown}")


def _gains(diagnosis: Diagnosis) -> Iterator[str]:
    ranked = sorted(diagnosis.gains.values(), key=lambda gain: -gain.gain)
    shown = [gain for gain in ranked if gain.gain >= 0.01][:5]
    if shown:
        yield ""
        yield "more steps an hour, were a resource 20 % faster or a habit halved:"
        yield from (f"  {gain.stage:<20}{100 * gain.gain:5.0f} %" for gain in shown)


def _idle(idle: Idle) -> Iterator[str]:
    parts = [
        f"{hours:.1f} GPU hours of the {part}"
        for part, hours in (
            ("trainer", idle.trainer_gpu_hours),
            ("engines", idle.inference_gpu_hours),
        )
        if hours is not None and hours >= 0.05
    ]
    if not parts and not idle.repeated_steps:
        return
    yield ""
    if parts:
        cost = ""
        if idle.usd is not None:
            cost = f", {idle.usd:.2f} USD at {idle.usd_per_gpu_hour:.2f} a GPU hour"
            cost += f" ({clean(idle.price_source)})" if idle.price_source else ""
        yield f"idle in {idle.hours:.1f} hours: {' and '.join(parts)}{cost}"
    if idle.repeated_steps:
        yield f"{idle.repeated_steps} steps were lost to restarts, {idle.repeated_hours:.1f} hours"


def render_comparison(comparison: Comparison) -> str:
    """What changed from one run to the other."""
    lines = [
        f"A {clean(comparison.a.source)}: {headline(comparison.a)}",
        f"B {clean(comparison.b.source)}: {headline(comparison.b)}",
        "",
        f"{'':<26}{'A':>12}{'B':>12}{'change':>10}   99 % interval",
    ]
    for change in comparison.changes:
        mark = "significant" if change.significant else "not significant"
        relative = f"{100 * change.change:+.1f} %" if change.change is not None else "-"
        band = (
            f"{100 * change.low:+.1f} to {100 * change.high:+.1f} %"
            if change.low is not None and change.high is not None
            else "-"
        )
        lines.append(
            f"{change.name:<26}{change.a:>12.4g}{change.b:>12.4g}{relative:>10}   {band}  {mark}"
        )
    if not comparison.changes:
        lines.append("nothing can be compared: too few steady steps")
    return "".join(f"{line.rstrip()}\n" for line in lines)
