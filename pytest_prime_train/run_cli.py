"""``prime-train run``, for the list of commands: ``cli.main`` hands its line to ``run`` itself."""

from __future__ import annotations


def run() -> int:
    """Launch prime-rl, watch it, back its checkpoints up, and resume it."""
    from pytest_prime_train.run import main

    return main([], "prime-train run")
