"""Every fact there is: what it says and of which type its value is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from pytest_prime_train.findings import UsageError


class Fact(NamedTuple):
    """What is known about a fact before its value is.

    Attributes:
        meaning: What its value says, with the unit.
        types: Types that its value can have in TOML.
        example: A value, as TOML has it.
    """

    meaning: str
    types: tuple[type, ...]
    example: str


_NUMBER = (int, float)

FACTS: dict[str, Fact] = {
    "ckpt_foreign_step_dirs": Fact(
        "whether the checkpoints have a step_ entry that does not end in a number", (bool,), "false"
    ),
    "env_reward_min": Fact("lowest reward that the environments can give", _NUMBER, "-1.0"),
    "gpu_cc": Fact("CUDA compute capability of the GPUs", _NUMBER, "9.0"),
    "gpu_count": Fact("number of GPUs of one machine", (int,), "8"),
    "gpu_mem_gib": Fact("memory of one GPU in GiB", _NUMBER, "80"),
    "hf_token_present": Fact(
        "whether the machine has a token of the Hugging Face hub", (bool,), "true"
    ),
    "host_ram_gib": Fact("host memory of one machine in GiB", _NUMBER, "1024"),
    "is_moe": Fact("whether the model has routed experts", (bool,), "false"),
    "model_cached": Fact("whether the model is in the Hugging Face cache", (bool,), "true"),
    "model_path_exists": Fact("whether the model is a folder that there is", (bool,), "true"),
    "newest_ckpt_complete": Fact(
        "whether the newest checkpoint of the run directory is complete", (bool,), "true"
    ),
    "num_experts": Fact("routed experts of a layer of the model", (int,), "128"),
    "num_heads": Fact("attention heads of the model", (int,), "32"),
    "params_b": Fact("billions of parameters of the model", _NUMBER, "4.0"),
    "prime_key_present": Fact("whether the machine has a key of Prime Intellect", (bool,), "true"),
}
"""Name of every fact -> what it is."""


def checked(values: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Facts that were given, once it is known that they are facts.

    Args:
        values: Name -> value, as TOML has them.
        place: Where they were given, for messages.

    Raises:
        UsageError: There is no such fact, or a value has another type.
    """
    for name, value in values.items():
        fact = FACTS.get(name)
        if fact is None:
            from pytest_prime_train.schema.suggest import did_you_mean

            raise UsageError(f"{place}: no fact is called {name!r}{did_you_mean(name, FACTS)}")
        # A bool is an int for Python, and never a number for a user.
        if type(value) not in fact.types:
            raise UsageError(
                f"{place}: {name} has to be {fact.meaning}, such as {name} = {fact.example}"
            )
    return dict(values)


def read(path: str) -> dict[str, Any]:
    """The facts of a TOML file, such as ``gpu_cc = 9.0``.

    Raises:
        UsageError: It cannot be read, or holds something that is no fact.
    """
    return checked(read_table(path), path)


def read_table(path: str) -> dict[str, Any]:
    """What a small TOML file holds.

    Raises:
        UsageError: It cannot be read.
    """
    import tomllib

    try:
        with open(path, "rb") as stream:
            return tomllib.load(stream)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is no TOML: {error}") from error
