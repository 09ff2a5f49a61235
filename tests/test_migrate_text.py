"""Texts of migrated configs: what changes in them, and all that must not."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterable
from textwrap import dedent
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from made_configs import make
from pytest_prime_train import UsageError, migrate
from pytest_prime_train.config.edits import write
from pytest_prime_train.config.statements import comments_in, cut
from pytest_prime_train.config.tree import Node, grow, same
from pytest_prime_train.migrations.plan import Dated, plan
from pytest_prime_train.schema.versions import VERSIONS

SEEDS = st.integers(min_value=0, max_value=2**32)


def migrated(text: str, **options: Any) -> str:
    """The text of an rl config after its migration, which must not be refused."""
    found = migrate(dedent(text), root="rl", **options)
    assert not found.refused, found.needs_person
    return found.text


PARTS = "[trainer]\n[orchestrator]\n"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("clean_output_dir = true # go\n", "clean = true # go\n"),
        ("'clean_output_dir'=true\n", "clean=true\n"),
        ("[ wandb ]  # us\nname = 'x'\n", "[ monitors.wandb ]  # us\nname = 'x'\n"),
        ('wandb.project = "a"\n', 'monitors.wandb.project = "a"\n'),
        ("wandb = { project = 'a', name = 'b' }\n",
         "monitors.wandb = { project = 'a', name = 'b' }\n"),
        ("[ckpt]\nresume_step = 1_000 # here\n", "[ckpt]\n\n[resume]\nstep = 1_000  # here\n\n"),
        ("[ckpt]\n# from the start\nresume_step = -1\ninterval = 5\n",
         "[ckpt]\n# from the start\ninterval = 5\n\n[resume]\n\n"),
        ("[inference.model]\nmax_model_len = 0x10\n[inference.parallel]\n# one\ntp = 1\n",
         "[inference.vllm]\nmax_model_len = 0x10\n# one\ntensor_parallel_size = 1\n"),
    ],
)  # fmt: skip
def test_a_change_is_written_where_the_key_stands(old: str, new: str) -> None:
    assert migrated(old + PARTS) == new + PARTS


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_what_is_not_changed_is_copied(newline: str) -> None:
    text = newline.join(
        [
            "# a run  ",
            "seq_len   =  4_096 # tokens",
            "",
            "",
            "[trainer.optim]   # muon ?",
            "lr=1E-6",
            "\t# indented",
            "",
            "[orchestrator]",
            "oversampling_factor = 2.0  # more",
            "batch_size = 0b1000_0000",
            "",
        ]
    )
    kept = text.replace("oversampling_factor = 2.0  # more", "# more")
    assert migrated(text) == kept


def test_an_environment_with_its_comments() -> None:
    old = """\
    [trainer]

    [orchestrator]
    batch_size = 8
    rollouts_per_example = 4 # per prompt

    # what is trained on
    [[orchestrator.env]]
    id = "primeintellect/alphabet-sort" # the sort
    # both are turns
    args = { min_turns = 3, power_per_turn = false } # from the paper

    [[orchestrator.env]]
    name = "second"
    id = 'reverse-text'
    """
    new = """\
    [trainer]

    [orchestrator]
    batch_size = 8
    group_size = 4 # per prompt

    # what is trained on
    [[orchestrator.train.source]]
    env.taskset.id = "alphabet-sort" # the sort
    # both are turns
    env.taskset.min_turns = 3
    env.taskset.task.power_per_turn = false # from the paper

    [[orchestrator.train.source]]
    name = "second"
    env.taskset.id = 'reverse-text'
    """
    assert migrated(old) == dedent(new)


def test_the_comment_of_a_table_that_is_gone_goes_with_its_first_key() -> None:
    old = """\
    [inference.model]
    enforce_eager = true

    # all of this is vLLM's
    [inference.vllm_extra]
    swap_space = 4

    [trainer]
    [orchestrator]
    """
    new = """\
    [inference.vllm]
    enforce_eager = true
    # all of this is vLLM's
    swap_space = 4

    [trainer]
    [orchestrator]
    """
    assert migrated(old) == dedent(new)


def test_values_in_other_forms_of_toml_are_found_again() -> None:
    text = """\
    [trainer]
    model.attn = '''fa4'''
    [orchestrator]
    "rollouts_per_example" = +8
    env = [ # two of them
      { id = "reverse-text", ratio = 1.0 }, # one
      { id = "wordle", "ratio" = 2e0 },
    ]
    """
    found = tomllib.loads(migrated(text))
    assert found["trainer"] == {"model": {"attn": "flash_attention_4"}}
    assert found["orchestrator"]["group_size"] == 8
    assert [item["env"]["taskset"]["id"] for item in found["orchestrator"]["train"]["source"]] == [
        "reverse-text",
        "wordle",
    ]
    assert comments_in(migrated(text)) == ["# two of them", "# one"]


def test_annotations_are_comments_at_the_keys_and_are_written_once() -> None:
    text = '[trainer]\n[orchestrator]\n[[orchestrator.env]]\nid = "math-env"\nargs.split = "x"\n'
    plain = migrated(text)
    noted = migrated(text, annotate=True)
    assert [line for line in noted.splitlines() if not line.startswith("#")] == plain.splitlines()
    assert "prime-train: Arguments of the environment" in noted
    assert migrated(noted, annotate=True) == noted


def test_what_was_left_out_is_told_in_an_annotation() -> None:
    text = '[trainer]\n[orchestrator]\n[[orchestrator.env]]\nid = "gsm8k"\nargs = { seed = 4 }\n'
    noted = migrated(text, annotate=True)
    assert "seed" in noted
    assert tomllib.loads(noted) == tomllib.loads(migrated(text))


@pytest.mark.parametrize("text", ["a = \n", "a = 1\na = 2\n", "\ufeffa = 1\n"])
def test_what_is_no_toml_is_wrong_use_of_the_function(text: str) -> None:
    with pytest.raises(UsageError, match=r"config\.toml"):
        migrate(text)


def unchanged_lines(text: str, tree: Node) -> list[str]:
    """The lines of a text that say in their own table what they have always said."""
    now = {node.source: (path, node) for path, node in tree.walk() if node.source is not None}
    data = tomllib.loads(text)
    lines: list[str] = []
    stays = True
    for statement in cut(text)[0]:
        found = now.get(statement.path)
        here = found is not None and found[0] == statement.path
        if statement.is_header:
            stays = here and found is not None and found[1].is_table
            same_value = True
        else:
            value: Any = data
            for part in statement.path:
                value = value[part]
            same_value = here and found is not None and same(found[1].data(), value)
        if stays and here and same_value:
            lines += text[statement.line : statement.below].splitlines()
    return lines


def is_in_order(lines: Iterable[str], text: str) -> bool:
    """Whether lines are in a text in this order."""
    rest = iter(text.splitlines())
    return all(line in rest for line in lines)


@settings(max_examples=300, deadline=None)
@given(SEEDS)
def test_any_old_config_in_any_form_is_rewritten(seed: int) -> None:
    made = make(seed)
    data = tomllib.loads(made.text)
    for target in VERSIONS[VERSIONS.index(made.version) + 1 :]:
        found = plan(data, Dated(made.root, made.version, "", True, "", ""), target)
        text = write(made.text, found.draft.tree)
        # The text says what the changes say, and loses and makes up no comment.
        assert same(tomllib.loads(text), found.data)
        assert Counter(comments_in(text)) == Counter(comments_in(made.text))
        # Lines whose keys are the same are the same, in their order and with their endings.
        assert is_in_order(unchanged_lines(made.text, found.draft.tree), text)
        if "\r\n" in made.text:
            assert "\n" not in text.replace("\r\n", "")


@settings(max_examples=100, deadline=None)
@given(SEEDS)
def test_a_text_without_changes_is_the_same(seed: int) -> None:
    text = make(seed).text
    assert write(text, grow(tomllib.loads(text))) == text


@settings(max_examples=200, deadline=None)
@given(SEEDS)
def test_the_same_changes_find_nothing_to_do_the_second_time(seed: int) -> None:
    made = make(seed)
    dated = Dated(made.root, made.version, "", True, "", "")
    first = plan(tomllib.loads(made.text), dated).data
    assert same(plan(first, dated).data, first)


@settings(max_examples=100, deadline=None)
@given(SEEDS)
def test_a_second_migration_changes_nothing(seed: int) -> None:
    made = make(seed)
    first = migrate(made.text, root=made.root, origin=made.version)
    again = migrate(first.text, root=made.root, origin=made.version)
    assert again.text == first.text
