"""What a config needs on each card: whether it fits, on how many of them, for how long."""

from __future__ import annotations

from pathlib import Path

from pytest_prime_train.config.resolve import Config
from pytest_prime_train.cost.found import SECONDS, Need, Terms
from pytest_prime_train.cost.generation import BAND, tokens_per_second
from pytest_prime_train.memory.from_config import RunShape, read_run
from pytest_prime_train.memory.gpus import Gpu, all_gpus
from pytest_prime_train.memory.run import RunEstimate, estimate_run
from pytest_prime_train.memory.shapes import GIB, MemoryEstimate

_IN_A_NODE = 8


class Needs:
    """What a config needs, worked out once for each card that is asked for.

    Args:
        config: The resolved config.
        terms: Hours and steps that are given instead of the estimate's.
        base: Folder that relative model paths start from.
    """

    def __init__(self, config: Config, terms: Terms, base: Path) -> None:
        self.config = config
        self.terms = terms
        self.base = base
        self._needs: dict[str, Need] = {}
        self._notes: dict[str, list[str]] = {}
        # Of a card, a run depends on its generation alone, which decides the attention kernel.
        self._runs: dict[int, tuple[RunShape, MemoryEstimate | None]] = {}

    def of(self, gpu: str) -> Need:
        """What the config needs on a card."""
        known = self._needs.get(gpu)
        if known is None:
            known = self._needs[gpu] = self._read(all_gpus()[gpu])
        return known

    def notes(self, gpu: str) -> list[str]:
        """What was taken for granted about a card that was asked for."""
        self.of(gpu)
        return self._notes[gpu]

    def run(self, card: Gpu) -> RunShape:
        """What the config asks of a card."""
        return self._run(card)[0]

    def _run(self, card: Gpu) -> tuple[RunShape, MemoryEstimate | None]:
        known = self._runs.get(card.sm)
        if known is None:
            from pytest_prime_train.memory.trainer import estimate

            run = read_run(self.config, card, base=self.base)
            memory = None if run.trainer is None else estimate(run.trainer)
            known = self._runs[card.sm] = run, memory
        return known

    def _read(self, card: Gpu) -> Need:
        run, memory = self._run(card)
        estimate = estimate_run(run, card, memory=memory)
        self._notes[card.id] = [
            note for note in estimate.assumptions if not note.startswith("not validated")
        ]
        steps = self.terms.steps or self.config.steps
        trains = estimate.step_seconds
        generates = generation_seconds(run, estimate, card)
        if generates is not None:
            self._notes[card.id].append(
                f"vLLM generates a batch in {generates:.0f} s, estimated from the card's bandwidth "
                f"and good to a factor of {BAND:g}; the slower of the two halves sets the pace"
            )
        step = trains if trains is None else max(trains, generates or 0.0)
        hours = low = high = self.terms.hours
        speed = estimate.throughput
        if hours is None and steps is not None and trains is not None and step and speed:
            of_trainer = steps * trains / SECONDS
            of_server = steps * (generates or 0.0) / SECONDS
            hours = max(of_trainer, of_server)
            share = speed.tokens_per_s_per_gpu
            low = max(of_trainer * share / speed.high, of_server / BAND)
            high = max(of_trainer * share / speed.low, of_server * BAND)
        return Need(
            gpu=card.id,
            verdict=estimate.verdict,
            why=shortage(estimate, card),
            gpus=gpus_of(run),
            nodes=nodes_of(run),
            hours=hours,
            low_hours=low,
            high_hours=high,
            ckpt_gb=(estimate.checkpoint_bytes or 0.0) / 1e9,
            step_seconds=step,
            trainer_seconds=trains,
            generation_seconds=generates,
        )


def generation_seconds(run: RunShape, estimate: RunEstimate, card: Gpu) -> float | None:
    """Seconds that vLLM takes for the tokens of one step; None where the run has no vLLM."""
    if run.root != "rl" or run.inference is None or estimate.inference is None:
        return None
    if run.tokens_per_step is None or run.trainer is None:
        return None
    rate = tokens_per_second(
        run.inference,
        estimate.inference,
        card,
        length=run.trainer.seq_len,
        max_inflight=run.max_inflight,
    )
    return None if rate is None else run.tokens_per_step / rate


def server_gpus(run: RunShape) -> int:
    """Cards of the inference half."""
    server = run.inference
    if server is None:
        return 0
    return server.tensor_parallel * server.data_parallel * server.replicas


def gpus_of(run: RunShape) -> int:
    """Cards of the whole run."""
    return (run.trainer.num_gpus if run.trainer is not None else 0) + server_gpus(run)


def nodes_of(run: RunShape) -> int:
    """Machines of the whole run."""
    least = -(-gpus_of(run) // max(run.gpus_per_node, _IN_A_NODE))
    return max(run.train_nodes, least, 1)


def shortage(estimate: RunEstimate, card: Gpu) -> str:
    """Why a card does not do, by how much where that is known; ``""`` where it does."""
    if estimate.verdict == "unknown":
        return "; ".join(estimate.unknown) or "unknown: nothing can be told of its memory"
    if not card.cuda or not card.bf16:
        return f"without {'CUDA' if not card.cuda else 'bf16'}"
    memory, server = estimate.trainer, estimate.inference
    if memory is not None and estimate.trainer_verdict == "does-not-fit":
        needed = memory.peak_gib + memory.outside_bytes / GIB
        return (
            f"the trainer needs {needed:.1f} GiB per GPU, {needed - card.usable_gib:.1f} more than "
            f"the {card.usable_gib:.1f} that it has"
        )
    if server is not None and estimate.inference_verdict == "does-not-fit":
        return (
            f"vLLM has {server.budget_bytes / GIB:.1f} GiB per GPU, of which the weights take "
            f"{server.weights_bytes / GIB:.1f}: too few remain for one request of full length"
        )
    return ""
