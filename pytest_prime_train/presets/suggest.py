"""Which preset to point at where a config does not fit a card."""

from __future__ import annotations

from pytest_prime_train.presets.facts import excluded, nearest, presets_of


def suggestion(gpu: str, root: str, gpus: int | None = None) -> str:
    """A sentence that names a preset for a card.

    Args:
        gpu: The card's id.
        root: Program of the config; parts of an rl run count as rl.
        gpus: Cards that the config uses; None where that is not known.

    Returns:
        The sentence, or ``""`` where there is no preset: for other programs.
    """
    if gpu in excluded():
        return f"No preset is for it: {excluded()[gpu].reason}."
    program = "sft" if root == "sft" else "rl"
    if root not in ("rl", "sft", "trainer", "orchestrator", "inference"):
        return ""
    preset = nearest(gpu, program, gpus) or next(iter(presets_of(gpu, program)), None)
    if preset is None:
        return ""
    split = (
        f"{preset.train_gpus} GPUs"
        if not preset.infer_gpus
        else (f"{preset.train_gpus} + {preset.infer_gpus} GPUs")
    )
    rests = "measured" if preset.evidence.startswith("measured") else "estimated"
    return (
        f"Or start from preset {preset.name}, {preset.model} on {split} with {preset.seq_len} "
        f"tokens ({rests}): prime-train init --preset {preset.name}."
    )
