"""Estimates of config files as functions, for the command line and for other programs."""

from __future__ import annotations

from pytest_prime_train.checker import Options, load_config
from pytest_prime_train.memory.judge import Judgement, judge, known_card
from pytest_prime_train.memory.run import RunEstimate


def judge_memory(
    path: str,
    gpu: str,
    *,
    num_gpus: int | None = None,
    options: Options = Options(),
    online: bool = False,
) -> Judgement:
    """As ``estimate_memory``, with what would make the config fit."""
    card = known_card(gpu)
    config = load_config(path, options)
    return judge(config, card, num_gpus=num_gpus, path=path, online=online)


def estimate_memory(
    path: str,
    gpu: str,
    *,
    num_gpus: int | None = None,
    options: Options = Options(),
    online: bool = False,
) -> RunEstimate:
    """Estimate a config file on a GPU.

    Args:
        path: The file.
        gpu: The card, by the name that users write, such as ``H100-80GB``.
        num_gpus: GPUs of the trainer instead of the config's own.
        options: How to judge the file.
        online: Whether the Hugging Face hub may be asked for unknown models.

    Raises:
        UsageError: The file cannot be read, is no prime-rl config or is refused, or no card is
            called so.
    """
    judged = judge_memory(path, gpu, num_gpus=num_gpus, options=options, online=online)
    return judged.estimate
