"""Whether an estimate fits a card: on the upper end of its band, never on the middle."""

from __future__ import annotations

from pytest_prime_train.memory.shapes import GIB, InferenceEstimate, MemoryEstimate, Verdict


def trainer_verdict(estimate: MemoryEstimate, usable_gib: float) -> Verdict:
    """Whether a trainer's peak fits a card.

    Args:
        estimate: The trainer's memory.
        usable_gib: Memory of the card as torch reports it.

    Returns:
        ``fits`` when even the upper end of the band fits, ``does-not-fit`` when not even the lower
        end does, ``tight`` between.
    """
    usable = usable_gib * GIB - estimate.outside_bytes
    if estimate.high_bytes <= usable:
        return "fits"
    return "does-not-fit" if estimate.low_bytes > usable else "tight"


def inference_verdict(estimate: InferenceEstimate) -> Verdict:
    """Whether vLLM starts: one request of full length must find room in the KV cache."""
    if estimate.available_kv_bytes <= 0 and estimate.high_available_bytes <= 0:
        return "does-not-fit"
    if estimate.starts:
        needed = estimate.available_kv_bytes / max(estimate.max_concurrency, 1e-9)
        return "fits" if estimate.low_available_bytes >= needed else "tight"
    if estimate.available_kv_bytes <= 0 or estimate.max_concurrency <= 0:
        return "does-not-fit"
    needed = estimate.available_kv_bytes / estimate.max_concurrency
    return "tight" if estimate.high_available_bytes >= needed else "does-not-fit"


def worst(verdicts: list[Verdict]) -> Verdict:
    """The verdict of a whole run: the worst of its parts; unknown when one part is."""
    order: tuple[Verdict, ...] = ("does-not-fit", "unknown", "tight", "fits")
    return next((verdict for verdict in order if verdict in verdicts), "unknown")
