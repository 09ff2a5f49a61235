"""Whether a model can do what a config asks of it: checked against its facts, before any load."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from pytest_prime_train.models.facts import ModelFacts

MAX_HEAD_DIM = {"flash_attention_2": 256, "flash_attention_3": 256, "flash_attention_4": 128}
"""Largest head that each attention kernel has."""

REGISTERED_VISION = frozenset({"qwen3_5", "qwen3_5_moe"})
"""Families whose vision part prime-rl's own model code trains."""

KNOWN_MODULES = frozenset(
    {
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "qkv_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
        "gate_up_proj",
        "experts",
        "q_a_proj",
        "q_b_proj",
        "kv_a_proj_with_mqa",
        "kv_b_proj",
        "in_proj",
        "in_proj_qkv",
        "in_proj_qkvz",
        "in_proj_ba",
        "in_proj_a",
        "in_proj_b",
        "in_proj_z",
        "out_proj",
        "fc1_latent_proj",
        "fc2_latent_proj",
        "lm_head",
        "embed_tokens",
        "gate",
        "router",
        "shared_expert",
        "shared_experts",
        "self_attn",
        "linear_attn",
        "mlp",
    }
)
"""Module names of one architecture or another."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a config asks of its model; None or False where it does not ask.

    Attributes:
        seq_len: Training sequence length.
        max_model_len: vLLM's longest request.
        rope_scaling: Whether positions are stretched beyond the model's own.
        attn: Attention kernel as written, ``auto`` included.
        impl: ``hf``, ``custom`` or ``auto``.
        own_code: Whether prime-rl has model code of its own for the family.
        own_code_needed: Whether the version insists on its own code for context parallelism, newer
            attention kernels and vision parts.
        packed: Whether a training sequence is packed out of samples of unknown length.
        ep: Expert parallelism as a number; None for ``auto``.
        cp: Context parallelism.
        cp_style: ``ring`` or ``ulysses``.
        tensor_parallel: vLLM's GPUs per matrix.
        lora_targets: Module names with adapters, where adapters are asked for.
        adapted: Module names of the model that can have adapters.
        vlm: Whether a vision part is configured.
        ac_targets: What selective checkpointing recomputes.
        quantization: ``fp8`` or ``mxfp8`` training.
        fused_moe: Whether the fused expert kernel is asked for.
        freeze_router: Whether routers are to be frozen.
        router_replay: Whether expert choices are replayed from inference.
        inference_experts: Whether vLLM spreads experts.
        index_cache: Whether sparse attention's index cache is configured.
        served: Facts of the model that vLLM serves, where it is another one.
        tokenizer_vocab: Vocabulary of the tokenizer's model, where it is another one.
    """

    seq_len: int | None = None
    max_model_len: int | None = None
    rope_scaling: bool = False
    attn: str = "auto"
    impl: str = "auto"
    own_code: bool = True
    own_code_needed: bool = True
    packed: bool = False
    ep: int | None = None
    cp: int = 1
    cp_style: str = "ring"
    tensor_parallel: int = 1
    lora_targets: tuple[str, ...] = ()
    adapted: frozenset[str] = frozenset()
    vlm: bool = False
    ac_targets: tuple[str, ...] = ()
    quantization: str | None = None
    fused_moe: bool = False
    freeze_router: bool = False
    router_replay: bool = False
    inference_experts: bool = False
    index_cache: bool = False
    served: ModelFacts | None = None
    tokenizer_vocab: int | None = None


class Incompatibility(NamedTuple):
    """One thing that the model cannot do.

    Attributes:
        field: Name of the field of :class:`Asked` that asks for it.
        message: What is wrong, with the values.
        value: Value that cures it, where one can be told.
        certain: Whether the run fails for sure.
    """

    field: str
    message: str
    value: str = ""
    certain: bool = True


Check = Callable[[ModelFacts, Asked], Iterator[Incompatibility]]


def incompatibilities(facts: ModelFacts, asked: Asked) -> list[Incompatibility]:
    """Everything a config asks that its model cannot do."""
    return [found for check in CHECKS for found in check(facts, asked)]


def _positions(facts: ModelFacts, asked: Asked) -> Iterator[Incompatibility]:
    most = facts.max_positions
    if most <= 0 or asked.rope_scaling:
        return
    for name in ("seq_len", "max_model_len"):
        value = getattr(asked, name)
        if name == "seq_len" and asked.packed:
            continue
        if value is not None and value > most:
            yield Incompatibility(
                name,
                f"{facts.name} has {most:,} positions, fewer than the {value:,} tokens asked for",
                str(most),
                certain=name == "max_model_len",
            )


def _experts(facts: ModelFacts, asked: Asked) -> Iterator[Incompatibility]:
    if facts.moe is None:
        for name, what in (
            ("freeze_router", "routers to freeze"),
            ("router_replay", "expert choices to replay"),
            ("fused_moe", "experts for the fused kernel"),
        ):
            if getattr(asked, name):
                yield Incompatibility(name, f"{facts.name} is dense and has no {what}", "false")
        if asked.ep is not None and asked.ep > 1:
            yield Incompatibility(
                "ep",
                f"{facts.name} is dense and has no experts to spread over {asked.ep} GPUs",
                "1",
            )
        if asked.inference_experts:
            yield Incompatibility(
                "inference_experts", f"{facts.name} is dense and has no experts to spread", "false"
            )
        return
    if asked.ep is not None and asked.ep > 1 and facts.moe.experts % asked.ep:
        yield Incompatibility(
            "ep",
            f"{facts.moe.experts} experts of {facts.name} do not divide among {asked.ep} GPUs",
            str(_largest_divisor(facts.moe.experts, asked.ep)),
        )
    if asked.fused_moe and facts.moe.intermediate % 128:
        yield Incompatibility(
            "fused_moe",
            f"the fused expert kernel needs experts of a width divisible by 128, {facts.name} has "
            f"{facts.moe.intermediate}",
            "false",
        )
    if asked.ep is not None and asked.ep > 1 and not asked.own_code:
        yield Incompatibility(
            "ep",
            f"expert parallelism needs model code of prime-rl's own, which {facts.family} lacks",
            "1",
        )


def _largest_divisor(number: int, most: int) -> int:
    return max(divisor for divisor in range(1, most + 1) if number % divisor == 0)


def _parallel(facts: ModelFacts, asked: Asked) -> Iterator[Incompatibility]:
    tp = asked.tensor_parallel
    served = asked.served or facts
    if tp > 1 and served.heads % tp:
        yield Incompatibility(
            "tensor_parallel",
            f"{served.heads} attention heads of {served.name} do not divide among {tp} GPUs",
            str(_largest_divisor(served.heads, tp)),
        )
    elif tp > 1 and served.mla is None:
        kv = served.kv_heads
        if kv % tp and tp % kv:
            yield Incompatibility(
                "tensor_parallel",
                f"{kv} key heads of {served.name} neither divide among {tp} GPUs nor the reverse",
                str(_largest_divisor(served.heads, kv)),
            )
    if asked.cp <= 1:
        return
    if asked.own_code_needed and (not asked.own_code or asked.impl == "hf"):
        yield Incompatibility(
            "cp",
            f"context parallelism needs model code of prime-rl's own, which {facts.family} lacks",
            "1",
        )
    if asked.cp_style == "ulysses" and facts.heads % asked.cp:
        yield Incompatibility(
            "cp",
            f"{facts.heads} attention heads of {facts.name} do not divide among {asked.cp} GPUs",
            str(_largest_divisor(facts.heads, asked.cp)),
        )
    elif asked.cp_style == "ulysses" and facts.mla is None:
        kv = facts.kv_heads
        if kv % asked.cp and asked.cp % kv:
            yield Incompatibility(
                "cp",
                f"{kv} key heads of {facts.name} neither divide among {asked.cp} GPUs nor the "
                "reverse",
                str(_largest_divisor(kv, asked.cp)),
            )
    if asked.seq_len is not None and asked.seq_len % (2 * asked.cp):
        yield Incompatibility(
            "seq_len",
            f"a sequence of {asked.seq_len:,} tokens does not divide into {2 * asked.cp} parts for "
            f"cp = {asked.cp}",
            str(asked.seq_len // (2 * asked.cp) * 2 * asked.cp),
        )


def _attention(facts: ModelFacts, asked: Asked) -> Iterator[Incompatibility]:
    widest = facts.head_dim
    if facts.global_attention is not None:
        widest = max(widest, facts.global_attention.head_dim)
    most = MAX_HEAD_DIM.get(asked.attn)
    latent_fits = facts.mla is not None and widest <= 192
    if most is not None and widest > most and not (latent_fits and most == 128):
        yield Incompatibility(
            "attn",
            f"{asked.attn} has heads of up to {most} numbers, {facts.name} has {widest}",
            "flash_attention_2" if widest <= 256 else "",
        )
    if (
        asked.own_code_needed
        and asked.attn in ("flash_attention_3", "flash_attention_4")
        and (asked.impl == "hf" or not asked.own_code)
    ):
        yield Incompatibility(
            "attn",
            f"{asked.attn} needs model code of prime-rl's own; {facts.family} runs transformers'",
            "flash_attention_2",
        )


def _code(facts: ModelFacts, asked: Asked) -> Iterator[Incompatibility]:
    if asked.impl == "custom" and not asked.own_code:
        yield Incompatibility(
            "impl", f"prime-rl has no model code of its own for {facts.family}", "auto"
        )
    if asked.quantization is not None and (asked.impl == "hf" or not asked.own_code):
        yield Incompatibility(
            "quantization",
            f"{asked.quantization} training needs model code of prime-rl's own, which "
            f"{facts.family} lacks",
        )
    if asked.quantization == "mxfp8" and facts.moe is not None and facts.hidden % 256:
        yield Incompatibility(
            "quantization",
            f"mxfp8 experts need a width divisible by 256, {facts.name} has {facts.hidden}",
        )


def _checkpointing(facts: ModelFacts, asked: Asked) -> Iterator[Incompatibility]:
    can = {"norm", "attn_proj"}
    if facts.mla is not None:
        can.add("mla_up_proj")
    if facts.moe is None or facts.moe.dense_layers:
        can.add("mlp")
    if facts.moe is not None:
        can.add("routed_experts")
    if facts.linear_attention is not None or facts.hybrid is not None or facts.window_layers:
        can.add("linear_attn")
    for target in asked.ac_targets:
        if target not in can:
            yield Incompatibility(
                "ac_targets",
                f"{facts.name} has nothing that checkpoint target {target!r} could recompute",
                ", ".join(sorted(set(asked.ac_targets) & can)) or "norm",
            )


def _lora(facts: ModelFacts, asked: Asked) -> Iterator[Incompatibility]:
    simple = [name for name in asked.lora_targets if name.replace("_", "").isalnum()]
    patterns = len(simple) < len(asked.lora_targets)
    if not asked.lora_targets or not asked.adapted or patterns:
        return
    missing = [name for name in simple if name not in asked.adapted]
    # Names of other architectures are common, since prime-rl passes over what a model lacks.
    misspelt = [name for name in missing if name not in KNOWN_MODULES]
    if len(missing) == len(simple):
        yield Incompatibility(
            "lora_targets",
            f"{facts.name} has none of the modules {', '.join(missing)}",
            ", ".join(sorted(asked.adapted)),
        )
    elif misspelt:
        yield Incompatibility(
            "lora_targets",
            f"no architecture has a module {', '.join(misspelt)}, which gets no adapter",
            ", ".join(sorted(asked.adapted)),
            certain=False,
        )


def _vision(facts: ModelFacts, asked: Asked) -> Iterator[Incompatibility]:
    if not asked.vlm:
        return
    if not facts.vision:
        yield Incompatibility("vlm", f"{facts.name} has no vision part", "")
    elif asked.own_code_needed and facts.family not in REGISTERED_VISION:
        yield Incompatibility(
            "vlm",
            f"prime-rl trains vision parts of {', '.join(sorted(REGISTERED_VISION))}, not of "
            f"{facts.family}",
        )


def _sparse(facts: ModelFacts, asked: Asked) -> Iterator[Incompatibility]:
    if asked.index_cache and (facts.mla is None or facts.mla.indexer is None):
        yield Incompatibility("index_cache", f"{facts.name} has no sparse attention to cache for")


def _pair(facts: ModelFacts, asked: Asked) -> Iterator[Incompatibility]:
    served = asked.served
    if served is not None and (
        (served.hidden, served.layers, served.vocab) != (facts.hidden, facts.layers, facts.vocab)
    ):
        yield Incompatibility(
            "served",
            f"vLLM serves {served.name} ({served.layers} layers of {served.hidden}) but "
            f"{facts.name} ({facts.layers} of {facts.hidden}) is trained: weights cannot be sent",
            facts.name,
        )
    if asked.tokenizer_vocab is not None and asked.tokenizer_vocab > facts.vocab:
        yield Incompatibility(
            "tokenizer_vocab",
            f"the tokenizer has {asked.tokenizer_vocab:,} tokens, {facts.name} embeds "
            f"{facts.vocab:,}",
            facts.name,
        )


CHECKS: tuple[Check, ...] = (
    _positions,
    _experts,
    _parallel,
    _attention,
    _code,
    _checkpointing,
    _lora,
    _vision,
    _sparse,
    _pair,
)
