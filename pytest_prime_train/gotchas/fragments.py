"""Files that are no configs of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_prime_train.config.resolve import Config

_OF_A_RUN = (
    "batch_size",
    "ckpt",
    "data",
    "env",
    "optim",
    "orchestrator",
    "seq_len",
    "source",
    "trainer",
)


def is_fragment(config: Config) -> bool:
    """Whether a file says nothing of what a run trains, so that another file has to.

    prime-rl takes several files at once; what such a file lacks is no mistake.
    """
    return config.names.isdisjoint(_OF_A_RUN)
