"""rl configs in the keys of the hosted service, and back."""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_prime_train import migrate
from pytest_prime_train.config.statements import comments_in

RL = """\
max_steps = 200
[model]
name = "Qwen/Qwen3-4B-Instruct-2507"  # small

[trainer.optim]
lr = 1e-5  # slow

[trainer.model.lora]
rank = 16
alpha = 32

[orchestrator]
batch_size = 256
group_size = 16

[orchestrator.concurrency]
min_inflight = 64
max_inflight = 64

[orchestrator.train.sampling]
max_completion_tokens = 1024

[[orchestrator.train.source]]
name = "w"
env.taskset.id = "wordle"
env.agent.max_turns = 3
serve.pool.type = "static"

[inference]

[ckpt]
interval = 50
"""


def keys(value: Any, prefix: str = "") -> Iterator[str]:
    """The dotted keys of all values, ``[]`` for the elements of arrays of tables."""
    if type(value) is dict and value:
        for name, item in value.items():
            yield from keys(item, f"{prefix}.{name}" if prefix else name)
    elif type(value) is list and value and type(value[0]) is dict:
        for item in value:
            yield from keys(item, f"{prefix}[]")
    else:
        yield prefix


def test_what_has_a_counterpart_goes_over_and_the_rest_is_named() -> None:
    found = migrate(RL, target="hosted")
    assert (found.target, found.refused, found.needs_person) == ("hosted", False, ())
    assert tomllib.loads(found.text) == {
        "max_steps": 200,
        "model": "Qwen/Qwen3-4B-Instruct-2507",
        "learning_rate": 1e-5,
        "lora_alpha": 32,
        "batch_size": 256,
        "rollouts_per_example": 16,
        "max_inflight_rollouts": 64,
        "sampling": {"max_tokens": 1024},
        "env": [
            {
                "name": "w",
                "taskset": {"id": "wordle"},
                "max_turns": 3,
                "pool": {"type": "static"},
            }
        ],
        "checkpoints": {"interval": 50},
    }
    assert "# small" in found.text
    assert "learning_rate = 1e-5  # slow" in found.text
    (note,) = found.notes
    assert "trainer.model.lora.rank = 16 was left out" in note.message
    assert migrate(found.text, target="hosted").text == found.text


def test_it_comes_back_as_it_was_but_for_what_was_named() -> None:
    there = migrate(RL, target="hosted")
    back = migrate(there.text, origin="hosted")
    assert not back.refused
    was, now = tomllib.loads(RL), tomllib.loads(back.text)
    del was["trainer"]["model"]["lora"]["rank"]
    for part in ("model", "orchestrator", "trainer", "ckpt", "max_steps"):
        assert now[part] == was[part]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("max_steps = 200\n", "", "max_steps is not set, and the hosted service takes 100"),
        ("group_size = 16\n", "", None),
        ("[trainer.model.lora]\nrank = 16\nalpha = 32\n", "", "trains the whole model"),
        ("batch_size = 256\n", "", "batch_size is not set, and the hosted service takes 128"),
    ],
)
def test_a_default_that_differs_is_written_out_or_needs_a_person(
    old: str, new: str, told: str | None
) -> None:
    found = migrate(RL.replace(old, new), target="hosted")
    if told is None:
        assert found.needs_person == ()
        assert tomllib.loads(found.text)["rollouts_per_example"] == 1
    else:
        (finding,) = found.needs_person
        assert told in finding.message


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (RL + "[deployment]\nnum_train_gpus = 2\n", "taken by the hosted service as it is"),
        ('[model]\nname = "Qwen/Qwen3-0.6B"\n[data]\nname = "c/d"\n', "takes rl configs"),
        (RL.replace('name = "Qwen/Qwen3-4B-Instruct-2507"  # small\n', ""), "needs a model"),
    ],
)
def test_what_the_service_has_no_config_for_is_refused(text: str, why: str) -> None:
    found = migrate(text, target="hosted", root="sft" if "[data]" in text else "rl")
    assert found.refused
    assert found.text == text
    assert why in found.needs_person[0].message


def test_every_shipped_rl_config_has_only_keys_of_the_service(shared: Path) -> None:
    dialect = json.loads((shared / "prime-rl" / "hosted_dialect.json").read_text())
    types = {entry["key"]: entry["types"] for entry in dialect["keys"]}
    seen = 0
    for path in sorted((shared / "prime-rl" / "configs").rglob("*.toml")):
        text = path.read_text()
        found = migrate(text, path=str(path), target="hosted")
        if found.root != "rl" or found.refused or not found.changed:
            continue
        seen += 1
        data = tomllib.loads(found.text)
        assert type(data["model"]) is str
        for key in keys(data):
            # The insides of these tables belong to the environment or to the sampler.
            known = next((one for one in types if key == one or key.startswith(f"{one}.")), None)
            assert known is not None, (path, key)
            assert key == known or "object" in types[known] or "array" in types[known], (path, key)
        assert not Counter(comments_in(text)) - Counter(comments_in(found.text)), path
    assert seen >= 20
