"""What prime-rl checks and no rule here does, with the reason. Read by tests, not by checks."""

from __future__ import annotations

FOUND_BY_THE_WALK: dict[str, str] = {
    "all.extra-forbidden": "unknown-key",
    "algo.opd-teacher": "missing-key",
    "algo.hier-agents": "missing-key, or out-of-range for an empty array",
    "source.id-string": "wrong-type",
    "source.harness-at-env-level": "unknown-key",
    "source.harness-default-renamed": "out-of-range",
    "rl.required-blocks": "missing-key",
    "evals.required-eval": "missing-key",
}
"""Checks that reading the schema covers, and the kind of finding they come out as."""

FOUND_BY_ANOTHER_RULE: dict[str, str] = {
    "all.reparse": "rule-inf-lora-rank-served, rule-rl-zero-infer-gpus, rule-par-world-product",
    "rl.share-conflict": "reported by what copies shared keys",
}
"""Checks that are several rules here, or that something else reports under the rule's id."""

NEEDS_A_FACT: dict[str, str] = {
    "algo.hier-env": "which environment classes the taskset's package exports",
    "source.plugin-lookup": "which packages are installed where the run starts",
    "source.id-stdlib-clash": "which modules can be imported where the run starts",
    "orch.eval-infinite": "whether the taskset has an end",
    "rl.gpu-physical": "GPUs of the machine and CUDA_VISIBLE_DEVICES",
    "rl.run-dir-used": "what lies in the run directory",
    "rl.clean-inside": "where links of the run directory lead",
    "rl.no-inference-warning": "whether a server runs at the client's address",
    "rl.router-replay-runtime": "whether the external server returns routed experts",
    "rl.multimodal-runtime": "whether samples have images",
    "sft.gpu-physical": "GPUs of the machine and CUDA_VISIBLE_DEVICES",
    "par.deepep-auto-one": "whether the model has experts",
    "model.fa-hf-runtime": "whether prime-rl has an implementation of the architecture",
    "model.cp-auto-hf-runtime": "whether prime-rl has an implementation of the architecture",
    "model.vlm-registered-runtime": "which vision models prime-rl has an implementation of",
    "model.gpt-oss-hopper": "the GPU's compute capability",
    "model.mxfp8-blackwell": "the GPU's compute capability",
    "model.fa3-package": "which packages are installed where the trainer starts",
    "model.fused-moe": "the model's experts and sizes, and the GPU's compute capability",
    "model.ac-target-runtime": "which targets the architecture has",
    "model.freeze-router-runtime": "whether the model has experts",
    "model.lora-targets-runtime": "the names of the model's modules",
}
"""Checks that need to know more than the config, and what: never guessed."""
