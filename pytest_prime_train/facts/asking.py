"""What a gotcha asks while it looks at a config; each fact is worked out when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_prime_train.config.resolve import Config

_OF_MODELS = frozenset(("is_moe", "num_experts", "num_heads", "params_b"))


class UnknownFact(Exception):
    """Nobody knows a fact; the message says what is missing and how to give it."""


class Facts:
    """The facts about the models and machines of one config.

    Args:
        config: The resolved config.
        given: Facts that the user gave, which win over what is known of a bundled model.
    """

    __slots__ = ("_config", "_given")

    def __init__(self, config: Config, given: Mapping[str, Any]) -> None:
        self._config = config
        self._given = given

    def is_given(self, name: str) -> bool:
        """Whether the user gave a fact, for gotchas that say less where it is known."""
        return name in self._given

    def ask(self, name: str, model: object = None) -> Any:
        """The value of a fact.

        Args:
            name: Name of the fact.
            model: The model that it is about, where the config has several; ``None`` for the one
                that is trained.

        Raises:
            UnknownFact: Nobody knows it.
        """
        if name in self._given:
            return self._given[name]
        if name not in _OF_MODELS:
            raise UnknownFact(_missing(name))
        if model is None:
            model = self._config.trainer.get("model.name")
        from pytest_prime_train.facts.of_models import known_of

        value = known_of(str(model), name)
        if value is None:
            raise UnknownFact(_missing(name, str(model)))
        return value


def _missing(name: str, model: str = "") -> str:
    from pytest_prime_train.facts.names import FACTS

    fact = FACTS[name]
    about = f" {model}" if model else ""
    what = fact.meaning.replace(" the model", about) if about else fact.meaning
    return (
        f"unknown: {what}; write {name} = {fact.example} or what is true into "
        "[tool.pytest-prime-train.facts] or the file of --facts"
    )
