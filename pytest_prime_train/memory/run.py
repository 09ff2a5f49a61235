"""The whole answer for one config on one card: trainer, inference, speed, verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pytest_prime_train.memory.from_config import RunShape
from pytest_prime_train.memory.gpus import Gpu
from pytest_prime_train.memory.host import checkpoint_bytes, exported_weights_bytes
from pytest_prime_train.memory.inference import estimate_inference
from pytest_prime_train.memory.shapes import (
    GIB,
    InferenceEstimate,
    MemoryEstimate,
    Throughput,
    Verdict,
)
from pytest_prime_train.memory.throughput import estimate_speed
from pytest_prime_train.memory.trainer import estimate
from pytest_prime_train.memory.verdict import inference_verdict, trainer_verdict, worst


@dataclass(frozen=True, slots=True)
class RunEstimate:
    """What one card means for a config.

    Attributes:
        gpu: The card's id.
        verdict: Worst of the parts; ``unknown`` when nothing can be told.
        trainer: The trainer's memory.
        trainer_verdict: Verdict of the trainer alone.
        inference: vLLM's memory.
        inference_verdict: Verdict of the server alone.
        throughput: The trainer's speed.
        step_seconds: Time of one trainer step at that speed.
        checkpoint_bytes: One training checkpoint on disk, all ranks together.
        export_bytes: One export of the weights.
        host_bytes_per_node: Pinned host memory of one node.
        concurrency_exceeded: Whether prime-rl may start more episodes than the KV cache holds at
            full length.
        assumptions: What was taken for granted.
        unknown: What cannot be told.
    """

    gpu: str
    verdict: Verdict
    trainer: MemoryEstimate | None = None
    trainer_verdict: Verdict | None = None
    inference: InferenceEstimate | None = None
    inference_verdict: Verdict | None = None
    throughput: Throughput | None = None
    step_seconds: float | None = None
    checkpoint_bytes: float | None = None
    export_bytes: float | None = None
    host_bytes_per_node: float | None = None
    concurrency_exceeded: bool = False
    assumptions: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The stable document of ``prime-train memory --format json``."""
        return {
            "trainer": self._trainer_json(),
            "inference": self._inference_json(),
            "throughput": self._throughput_json(),
            "verdict": self.verdict,
            "assumptions": list(self.assumptions),
            "unknown": list(self.unknown),
        }

    def _trainer_json(self) -> dict[str, Any] | None:
        if self.trainer is None:
            return None
        return {
            "peak_gib": round(self.trainer.peak_gib, 2),
            "low_gib": round(self.trainer.low_gib, 2),
            "high_gib": round(self.trainer.high_gib, 2),
            "components": {
                **{part.name: round(part.num_bytes / GIB, 3) for part in self.trainer.components},
                "context": round(self.trainer.outside_bytes / GIB, 3),
            },
        }

    def _inference_json(self) -> dict[str, Any] | None:
        if self.inference is None:
            return None
        return {
            "weights_gib": round(self.inference.weights_bytes / GIB, 2),
            "kv_cache_tokens": self.inference.kv_cache_tokens,
            "max_concurrency": round(self.inference.max_concurrency, 2),
        }

    def _throughput_json(self) -> dict[str, Any] | None:
        if self.throughput is None:
            return None
        return {
            "tokens_per_s_per_gpu": round(self.throughput.tokens_per_s_per_gpu, 1),
            "low": round(self.throughput.low, 1),
            "high": round(self.throughput.high, 1),
            "step_time_s": None if self.step_seconds is None else round(self.step_seconds, 2),
        }


def estimate_run(run: RunShape, gpu: Gpu, *, memory: MemoryEstimate | None = None) -> RunEstimate:
    """Estimate a whole run on one card.

    Args:
        run: What the config asks for.
        gpu: The card.
        memory: The trainer's memory where it is known: it is the same on many cards.
    """
    assumptions, unknown = list(run.assumptions), list(run.unknown)
    verdicts: list[Verdict] = ["unknown"] if run.unknown else []
    speed = server = None
    trainer_says: Verdict | None = None
    server_says: Verdict | None = None
    disk = export = host = step = None
    if run.trainer is not None:
        memory = memory or estimate(run.trainer)
        trainer_says = _on_card(trainer_verdict(memory, gpu.usable_gib), gpu)
        verdicts.append(trainer_says)
        speed = estimate_speed(run.trainer, gpu)
        disk, export = checkpoint_bytes(run.trainer), exported_weights_bytes(run.trainer)
        host = memory.host_bytes_per_gpu * min(run.trainer.num_gpus, run.gpus_per_node)
        assumptions += memory.assumptions
        assumptions += [f"not validated by measurement: {part}" for part in memory.uncovered]
        if speed is not None and run.tokens_per_step is not None:
            step = run.tokens_per_step / (speed.tokens_per_s_per_gpu * run.trainer.num_gpus)
    exceeded = False
    if run.inference is not None:
        server = estimate_inference(run.inference, gpu.usable_gib, gpu.id)
        server_says = _on_card(inference_verdict(server), gpu)
        verdicts.append(server_says)
        assumptions += server.assumptions
        assumptions += [f"not validated by measurement: {part}" for part in server.uncovered]
        engines = run.inference.data_parallel * run.inference.replicas
        exceeded = (
            run.max_inflight is not None and run.max_inflight > engines * server.max_concurrency
        )
    if not gpu.bf16 or not gpu.cuda:
        assumptions.append(f"{gpu.id} lacks {'bf16' if not gpu.bf16 else 'CUDA'}")
    return RunEstimate(
        gpu=gpu.id,
        verdict=worst(verdicts) if verdicts else "unknown",
        trainer=memory,
        trainer_verdict=trainer_says,
        inference=server,
        inference_verdict=server_says,
        throughput=speed,
        step_seconds=step,
        checkpoint_bytes=disk,
        export_bytes=export,
        host_bytes_per_node=host,
        concurrency_exceeded=exceeded,
        assumptions=tuple(dict.fromkeys(assumptions)),
        unknown=tuple(unknown),
    )


def _on_card(verdict: Verdict, gpu: Gpu) -> Verdict:
    """A card without bf16 or CUDA never fits."""
    return verdict if gpu.bf16 and gpu.cuda else "does-not-fit"
