"""Changes of environments: where they stand, what runs them, how many run at a time."""

from __future__ import annotations

from typing import Any

from pytest_prime_train.config.tree import Node, plant
from pytest_prime_train.findings import KeyPath
from pytest_prime_train.migrations.draft import Draft
from pytest_prime_train.migrations.words import dotted, show

TABLES = ("train.env[]", "eval.env[]", "env")
"""Environments of the orchestrator, and that of an environment server (v0.6 and v0.7)."""

BLOCKS = ("train.source[].env", "eval.source[].env", "env")
"""The blocks of environments since v0.8."""

SAMPLING_EXTRAS = ("min_tokens", "repetition_penalty", "seed")
"""Sampling keys that are no keys of their own any more."""

_HARMLESS_EXTRAS: dict[str, tuple[Any, ...]] = {
    "min_tokens": (0,),
    "repetition_penalty": (1, 1.0),
    "seed": (),
}
_SAMPLING = ("train.sampling", "eval.sampling", "train.env[].sampling", "eval.env[].sampling")
_LIMITS = ("max_turns", "max_input_tokens", "max_output_tokens", "max_total_tokens")
_BUFFER_HARMLESS = ("seed", "hash_keys", "skip_verification")


def sampling_extras(draft: Draft, prefix: KeyPath) -> None:
    """Move what is no sampling key any more to what is sent as it is."""
    for pattern in _SAMPLING:
        for path in draft.find(prefix, pattern):
            _extras(draft, path)


def _extras(draft: Draft, path: KeyPath) -> None:
    for key in SAMPLING_EXTRAS:
        node = draft.get((*path, key))
        if node is None:
            continue
        if node.is_none or node.value in _HARMLESS_EXTRAS[key]:
            draft.drop((*path, key))
        else:
            draft.move((*path, key), (*path, "extra_body", key))


def sampling_of_eval(draft: Draft, path: KeyPath) -> None:
    """All changes of the sampling of an evaluation that is a file of its own."""
    if draft.get(path) is not None:
        draft.move((*path, "max_tokens"), (*path, "max_completion_tokens"))
        _extras(draft, path)


def temperature_schedule(draft: Draft, prefix: KeyPath) -> None:
    """A schedule of temperatures becomes its first one."""
    path = (*prefix, "train", "sampling")
    none = draft.get((*path, "temperature"))
    if none is not None and none.is_none:
        draft.drop((*path, "temperature"))
    schedule = draft.drop((*path, "temp_scheduler"))
    if schedule is None or schedule.is_none or not schedule.is_table:
        return
    start, end = schedule.table.get("start_temperature"), schedule.table.get("end_temperature")
    if start is not None and draft.get((*path, "temperature")) is None:
        draft.put((*path, "temperature"), start)
    shown = [show(node.value) for node in (start, end) if node is not None]
    draft.needs_person(
        f"{dotted(path)}.temp_scheduler (from {' to '.join(shown)}) became one temperature, that "
        "of its start",
        f"Choose {dotted((*path, 'temperature'))}.",
        schedule.source,
        start,
    )


def buffer(draft: Draft, prefix: KeyPath) -> None:
    """Take apart the buffer of examples by difficulty."""
    path = (*prefix, "buffer")
    node = draft.drop(path)
    if node is None or not node.is_table:
        return
    table = node.table
    for key in _BUFFER_HARMLESS:
        table.pop(key, None)
    _ratios(draft, prefix, path, table.pop("env_ratios", None))
    filtering = table.pop("online_difficulty_filtering", None)
    if filtering is not None and filtering.value is True:
        draft.add((*prefix, "pre_batch_filters"), [{"type": "zero_advantage", "enforce": True}])
    for part in ("easy", "hard"):
        fraction, threshold = table.pop(f"{part}_fraction", None), table.pop(f"{part}_threshold", 0)
        if isinstance(threshold, Node) and not threshold.is_none:
            draft.needs_person(
                f"{dotted(path)}.{part}_threshold = {show(threshold.value)} was left out: pools of "
                "examples by difficulty are set per environment now",
                'Set curriculum.sampler = { type = "difficulty_pool" } with its pools in each '
                "source, or draw all examples alike.",
                threshold.source,
            )
        elif fraction is not None and fraction.value:
            draft.note(
                f"{dotted(path)}.{part}_fraction = {show(fraction.value)} was left out: without a "
                f"{part}_threshold it did nothing",
                "",
                fraction.source,
            )
    for key, rest in table.items():
        draft.note(f"{dotted((*path, key))} is gone with the buffer", "", rest.source)


def _ratios(draft: Draft, prefix: KeyPath, path: KeyPath, node: Node | None) -> None:
    if node is None or type(node.value) is not list:
        return
    environments = draft.get((*prefix, "train", "env"))
    count = len(environments.items) if environments is not None else 0
    if count != len(node.value):
        draft.needs_person(
            f"{dotted(path)}.env_ratios = {show(node.value)} was left out: the file has {count} "
            "environments",
            "Write ratio in each source.",
            node.source,
        )
        return
    for number, ratio in enumerate(node.value):
        draft.add((*prefix, "train", "env", number, "ratio"), ratio)


def group_defaults(draft: Draft, prefix: KeyPath) -> None:
    """What was set for all environments of a kind is set in each of them."""
    for part in ("train", "eval"):
        for key in ("num_workers", "max_retries"):
            path = (*prefix, part, key)
            node = draft.drop(path)
            if node is None or node.value == "auto":
                continue
            places = draft.find(prefix, f"{part}.env[]")
            for place in places:
                draft.add((*place, key), node.value)
            if not places:
                draft.note(
                    f"{dotted(path)} = {show(node.value)} was left out: it is set in each "
                    "environment now, and the file has none",
                    "",
                    node.source,
                )


def num_workers(draft: Draft, prefix: KeyPath) -> None:
    """The number of workers is the size of a pool."""
    for pattern in TABLES:
        for place in draft.find(prefix, pattern):
            path = (*place, "num_workers")
            node = draft.get(path)
            if node is None:
                continue
            if type(node.value) is not int or draft.get((*place, "pool")) is not None:
                draft.drop(path)
                continue
            draft.add((*place, "pool", "type"), "static")
            draft.move(path, (*place, "pool", "num_workers"))


def completion_budget(draft: Draft, prefix: KeyPath) -> None:
    """The budget of a rollout, where it has one."""
    for pattern in TABLES:
        for place in draft.find(prefix, pattern):
            path = (*place, "max_total_completion_tokens")
            node = draft.get(path)
            if node is None:
                continue
            if type(node.value) is int and node.value > 0:
                draft.move(path, (*place, "max_output_tokens"))
            else:
                draft.drop(path)


def timeout(draft: Draft, prefix: KeyPath) -> None:
    """A limit of time is one of a phase."""
    for pattern in TABLES:
        for place in draft.find(prefix, pattern):
            for key in ("timeout", "timeout_seconds"):
                path = (*place, key)
                node = draft.get(path)
                if node is None or node.is_table:
                    continue
                draft.take(path)
                if not node.is_none:
                    draft.put((*place, "timeout", "rollout"), node)


def ratio_none(draft: Draft, prefix: KeyPath) -> None:
    """No ratio is said by leaving it out."""
    for pattern in TABLES:
        for place in draft.find(prefix, pattern):
            node = draft.get((*place, "ratio"))
            if node is not None and node.is_none:
                draft.drop((*place, "ratio"))


def sources(draft: Draft, prefix: KeyPath) -> None:
    """Environments became sources, made of blocks."""
    for part in ("train", "eval"):
        if draft.get((*prefix, part, "env")) is not None:
            draft.move((*prefix, part, "env"), (*prefix, part, "source"))
        for place in draft.find(prefix, f"{part}.source[]"):
            classic(draft, place)


def server(draft: Draft, prefix: KeyPath) -> None:
    """The environment of an environment server is made of the same blocks."""
    old = draft.get((*prefix, "env"))
    if old is None or not old.is_table:
        return
    # As if it were a source, whose blocks are the file's.
    for key in ("name", "ratio"):
        if key in old.table:
            draft.drop((*prefix, "env", key))
    blocks = Draft({}, draft.root, draft.origin, draft.target)
    blocks.tree, blocks.remarks, blocks.applied = old, draft.remarks, draft.applied
    blocks.change = draft.change
    known = {key: old.table.pop(key) for key in ("env", "serve", "legacy") if key in old.table}
    inner = {key: node for key, node in old.table.items() if key in _KEPT}
    retries = old.table.get("retries")
    if retries is not None and "rollout" not in retries.table:
        inner["retries"] = retries
    for key in inner:
        old.table.pop(key)
    classic(blocks, ())
    for key in ("serve", "legacy"):
        if key in old.table:
            node = old.table.pop(key)
            draft.put((*prefix, key), node)
    env = old.table.pop("env", None)
    if env is not None:
        for key, node in env.table.items():
            old.table.setdefault(key, node)
    for key, node in (inner | known).items():
        if key not in old.table:
            old.table[key] = node
    if not old.table and old.source is not None:
        draft.drop((*prefix, "env"))


# Keys that the block env has under the same name.
_KEPT = ("max_concurrent_agents", "interception", "agent")


def classic(draft: Draft, place: KeyPath) -> None:
    """Sort the keys of one environment of v0.7 into the blocks of a source."""
    env = (*place, "env")
    agent = (*env, "agent")
    taskset = draft.get((*place, "taskset"))
    draft.move((*place, "taskset"), (*env, "taskset"))
    harness = draft.get((*place, "harness"))
    if harness is not None:
        draft.move((*place, "harness", "runtime"), (*agent, "runtime"))
        if harness.table or not harness.is_table:
            draft.move((*place, "harness"), (*agent, "harness"))
        else:
            draft.drop((*place, "harness"))
    for key in _LIMITS:
        draft.move((*place, key), (*agent, key))
    _phases(draft, place, env, agent)
    retries = draft.get((*place, "retries"))
    if retries is not None:
        draft.move((*place, "retries", "rollout"), (*env, "retries"))
        if draft.get((*place, "retries")) is not None:
            if retries.table:
                draft.move((*place, "retries"), (*env, "retries"))
            else:
                draft.drop((*place, "retries"))
    draft.move((*place, "pool"), (*place, "serve", "pool"))
    _address(draft, place)
    draft.move((*place, "multiplex"), (*env, "interception", "multiplex"))
    _legacy(draft, place, taskset)


def _address(draft: Draft, place: KeyPath) -> None:
    """A server of one's own has its address in the block serve, which v0.8.0 has no key for."""
    path = (*place, "address")
    if draft.target == "v0.8.0" and place:
        node = draft.drop(path)
        if node is not None and not node.is_none:
            draft.needs_person(
                f"{dotted(path)} = {show(node.value)} was left out: prime-rl v0.8.0 starts the "
                "server of an environment itself",
                "Migrate to a newer version, which has serve.address.",
                node.source,
                draft.get(place),
            )
        return
    draft.move(path, (*place, "serve", "address"))


def harness(draft: Draft, prefix: KeyPath) -> None:
    """A harness belongs to the agent, beside its runtime, which it had in it between releases."""
    for pattern in BLOCKS:
        for env in draft.find(prefix, pattern):
            agent = (*env, "agent")
            if draft.root != "env_server" or draft.get((*env, "agent")) is not None:
                draft.move((*env, "harness"), (*agent, "harness"))
            draft.move((*agent, "harness", "runtime"), (*agent, "runtime"))


def _phases(draft: Draft, place: KeyPath, env: KeyPath, agent: KeyPath) -> None:
    limits = draft.get((*place, "timeout"))
    if limits is None:
        return
    if not limits.is_table:
        draft.drop((*place, "timeout"))
        return
    draft.move((*place, "timeout", "finalize"), (*env, "timeout", "finalize"))
    draft.move((*place, "timeout", "episode"), (*env, "timeout", "episode"))
    if limits.table:
        draft.move((*place, "timeout"), (*agent, "timeout"))
    else:
        draft.drop((*place, "timeout"))


def _legacy(draft: Draft, place: KeyPath, taskset: Node | None) -> None:
    """A classic environment is a block of its own, unless a taskset took its place already."""
    told = taskset is not None and "id" in taskset.table and taskset.table["id"].value
    for key in ("id", "args", "extra_env_kwargs"):
        path = (*place, key)
        node = draft.get(path)
        if node is None:
            continue
        if told and not (key == "id" and node.is_none):
            draft.drop(path)
            if key != "extra_env_kwargs" and (node.children is None or node.table):
                draft.note(
                    f"{dotted(path)} was left out: the environment is that of its taskset, so "
                    "it was not read",
                    "",
                    node.source,
                )
        elif node.is_none:
            draft.drop(path)
        else:
            draft.move(path, (*place, "legacy", key))


def prompt_file(draft: Draft, prefix: KeyPath) -> None:
    """Judges have their prompt in the config."""
    for pattern in ("train.source[].env", "eval.source[].env", "env"):
        for place in draft.find(prefix, f"{pattern}.taskset.task.judges[]"):
            path = (*place, "prompt_file")
            node = draft.drop(path)
            if node is not None and not node.is_none:
                draft.needs_person(
                    f"{dotted(path)} = {show(node.value)} was left out: judges read no file",
                    f"Write the text of the file as {dotted((*place, 'prompt'))}.",
                    node.source,
                    draft.get(place),
                )


def legacy(draft: Draft, prefix: KeyPath) -> None:
    """Classic environments became tasksets."""
    if draft.root == "env_server":
        if draft.get((*prefix, "legacy")) is not None:
            legacy_to_taskset(draft, prefix)
        return
    for pattern in ("train.source[]", "eval.source[]"):
        for place in draft.find(prefix, pattern):
            if draft.get((*place, "legacy")) is not None:
                legacy_to_taskset(draft, place)


def legacy_to_taskset(draft: Draft, place: KeyPath) -> None:
    """Turn the classic environment of one source into a taskset."""
    from pytest_prime_train.migrations.tasksets import arguments_of

    path = (*place, "legacy")
    block = draft.get(path)
    if block is None:
        return
    if not block.is_table:
        draft.drop(path)
        return
    home = (*place, "env", "taskset")
    id = block.table.get("id")
    name = str(id.value) if id is not None else ""
    if id is not None:
        draft.set(id, taskset_id(name))
        draft.move((*path, "id"), (*home, "id"))
    elif draft.get((*home, "id")) is None and place and type(place[-1]) is int:
        # The id of a classic environment had this default.
        draft.add((*home, "id"), "reverse-text")
        name = "reverse-text"
    args = block.table.get("args")
    if args is not None and args.is_table and args.table:
        arguments_of(draft, (*path, "args"), args, home, taskset_id(name))
    elif args is not None:
        draft.drop((*path, "args"))
    kwargs = block.table.get("extra_env_kwargs")
    if kwargs is not None and kwargs.table:
        draft.note(
            f"{dotted((*path, 'extra_env_kwargs'))} was left out: it belonged to classic "
            "environments",
            "",
            kwargs.source,
        )
    draft.drop(path)


def taskset_id(id: str) -> str:
    """The taskset that an id of a classic environment names, without its owner and version."""
    return id.rpartition("/")[2].partition("@")[0]


def suffix(draft: Draft, prefix: KeyPath) -> None:
    """Tasksets that prime-rl's own examples use have lost the suffix of their ids."""
    from pytest_prime_train.migrations.data import WITHOUT_SUFFIX

    for pattern in ("train.source[].env", "eval.source[].env", "env"):
        for path in draft.find(prefix, f"{pattern}.taskset.id"):
            node = draft.get(path)
            if node is None or type(node.value) is not str:
                continue
            owner, slash, rest = node.value.rpartition("/")
            name, at, version = rest.partition("@")
            bare = name.removesuffix("-v1").removesuffix("_v1")
            if bare == name:
                continue
            if bare.replace("_", "-") in WITHOUT_SUFFIX:
                draft.set(node, owner + slash + bare + at + version)
            else:
                draft.note(
                    f"{dotted(path)} = {show(node.value)} was left as it is, though the tasksets "
                    "that come with prime-rl have lost the suffix -v1",
                    f"Write {show(bare)} where the installed package has that name.",
                    node.source,
                    node,
                )


def filters(draft: Draft, prefix: KeyPath) -> None:
    """Filters of rollouts became gates and a switch."""
    for slot in ("pre_batch_filters", "post_batch_filters"):
        path = (*prefix, slot)
        node = draft.drop(path)
        if node is None:
            continue
        for item in node.items:
            kind, enforce = item.table.get("type"), item.table.get("enforce")
            name = kind.value if kind is not None else ""
            enforces = (enforce is None and name == "zero_advantage") or (
                enforce is not None and enforce.value is True
            )
            if name == "zero_advantage" and slot == "post_batch_filters":
                if not enforces:
                    draft.add((*prefix, "train", "filter_zero_advantages"), False)
            elif name == "zero_advantage" and enforces:
                _gate(draft, prefix, item)
            elif enforces:
                draft.note(
                    f"{dotted(path)} of type {show(name)} was left out: nothing sorts out such "
                    "rollouts any more",
                    "",
                    item.source,
                )


def _gate(draft: Draft, prefix: KeyPath, item: Node) -> None:
    places = draft.find(prefix, "train.source[]")
    for place in places:
        gates = draft.get((*place, "curriculum", "gates"))
        if gates is None or not any(
            gate.table.get("type", Node("advantage_range")).value == "advantage_range"
            for gate in gates.table.values()
        ):
            draft.put(
                (*place, "curriculum", "gates", "zero_advantage"),
                plant({"type": "advantage_range"}),
            )
    if not places:
        draft.note(
            "pre_batch_filters of type zero_advantage was left out: it is a gate of each source "
            "now, and the file has none",
            'Write curriculum.gates.zero_advantage = { type = "advantage_range" } in each source.',
            item.source,
        )


def max_inflight(draft: Draft, prefix: KeyPath) -> None:
    """The number of rollouts in flight is a ceiling."""
    path = (*prefix, "max_inflight_episodes")
    node = draft.get(path)
    if node is None:
        return
    if node.is_none:
        draft.drop(path)
    else:
        draft.move(path, (*prefix, "concurrency", "max_inflight"))


def negative_min_p(draft: Draft, prefix: KeyPath) -> None:
    """What is below zero did nothing."""
    path = (*prefix, "eval", "sampling", "min_p")
    node = draft.get(path)
    if node is not None and type(node.value) in (int, float) and node.value < 0:
        draft.drop(path)


def high_temperature(draft: Draft, prefix: KeyPath) -> None:
    """Temperatures have an upper bound."""
    for pattern in _SAMPLING:
        for path in draft.find(prefix, f"{pattern}.temperature"):
            node = draft.get(path)
            if node is not None and type(node.value) in (int, float) and node.value > 2:
                old = node.value
                draft.set(node, 2.0)
                draft.needs_person(
                    f"{dotted(path)} = {show(old)} became 2.0, the highest that is allowed",
                    f"Choose {dotted(path)}.",
                    node.source,
                    node,
                )


def default_id(draft: Draft, prefix: KeyPath) -> None:
    """Write out the environment that was there by default."""
    patterns = ("env",) if draft.root == "env_server" else ("train.env[]", "eval.env[]")
    for pattern in patterns:
        for place in draft.find(prefix, pattern):
            node = draft.get(place)
            if node is None or not node.is_table:
                continue
            if not ({"id", "taskset", "env", "legacy"} & node.table.keys()):
                draft.add((*place, "id"), "reverse-text")
