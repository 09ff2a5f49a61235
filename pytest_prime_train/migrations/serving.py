"""Changes of the inference server's keys, of clients, and of monitors."""

from __future__ import annotations

from pytest_prime_train.config.tree import Node
from pytest_prime_train.findings import KeyPath
from pytest_prime_train.migrations.draft import Draft
from pytest_prime_train.migrations.words import dotted, show

VLLM_KEYS = (
    "enable_lora", "max_loras", "max_cpu_loras", "max_lora_rank", "lora_target_modules",
    "enable_prefix_caching", "gpu_memory_utilization", "quantization", "api_server_count",
    "data_parallel_size_local", "data_parallel_rpc_port", "seed", "enable_expert_parallel",
    "all2all_backend", "enable_eplb", "enable_dbo", "enable_return_routed_experts",
)  # fmt: skip
"""Keys of the inference server that are arguments of vLLM, by the names that vLLM has for them."""

CLIENTS = (
    "model.client",
    "algo.teacher",
    "algo.sampling.source",
    "train.source[].algo.teacher",
    "train.source[].algo.sampling.source",
)
"""Tables of the orchestrator that say how a server is reached."""

_RENAMED = {"name": "model"}
_PARALLEL = {"tp": "tensor_parallel_size", "dp": "data_parallel_size"}


def max_model_len(draft: Draft, prefix: KeyPath) -> None:
    """The context length belongs to the server, where the config has one."""
    node = draft.get(("max_model_len",))
    if draft.root != "rl" or node is None:
        return
    serves = draft.get(("inference",)) is not None or draft.has_around(("inference",))
    if not serves or node.is_none:
        draft.drop(("max_model_len",))
        if not node.is_none:
            draft.note(
                f"max_model_len = {show(node.value)} was left out: the config has no inference "
                "server that it could be for",
                "",
                node.source,
            )
        return
    draft.move(("max_model_len",), ("inference", "model", "max_model_len"))


def router_port(draft: Draft, prefix: KeyPath) -> None:
    """The router listens where the server did."""
    path = (*prefix, "deployment", "router_port")
    node = draft.drop(path)
    if node is not None and node.value != 8000:
        draft.note(
            f"{dotted(path)} = {show(node.value)} was left out: the router listens on server.port",
            f"Set {dotted((*prefix, 'server', 'port'))} = {show(node.value)} to keep the port.",
            node.source,
        )


def kv_cpu_bytes(draft: Draft, prefix: KeyPath) -> None:
    """Offloading of the KV cache has a type and tiers."""
    table = (*prefix, "kv_cache_offload")
    if draft.get((*table, "cpu_bytes")) is not None:
        draft.move((*table, "cpu_bytes"), (*table, "cpu", "num_bytes"))
        draft.add((*table, "type"), "native")


def nodes_per_replica(draft: Draft, prefix: KeyPath) -> None:
    """Nodes are counted for each replica."""
    for part in ("prefill", "decode"):
        path = (*prefix, "deployment", f"num_{part}_nodes")
        node = draft.get(path)
        if node is None:
            continue
        replicas = draft.get((*prefix, "deployment", f"num_{part}_replicas"))
        count = replicas.value if replicas is not None else 1
        if type(node.value) is int and type(count) is int and count > 1:
            draft.set(node, max(1, node.value // count))
        draft.move(path, (*prefix, "deployment", f"{part}_nodes_per_replica"))


def offline_halves(draft: Draft, prefix: KeyPath) -> None:
    """Writing offline is said to each half of a run."""
    path = (*prefix, "wandb", "offline")
    node = draft.get(path)
    if draft.root != "rl" or node is None or node.value is not True:
        return
    draft.add(("orchestrator", "wandb", "offline"), True)
    draft.move(path, ("trainer", "wandb", "offline"))


def prime_monitor(draft: Draft, prefix: KeyPath) -> None:
    """The platform's monitor stands beside the other ones, in an rl config at the top."""
    home: KeyPath = () if draft.root == "rl" else prefix
    draft.move((*prefix, "prime_monitor"), (*home, "monitors", "prime"))


def vllm(draft: Draft, prefix: KeyPath) -> None:
    """Put all arguments of vLLM into one table, under vLLM's own names."""
    home = (*prefix, "vllm")
    model = draft.get((*prefix, "model"))
    if model is not None and model.is_table:
        draft.drop((*prefix, "model", "vlm"))
        for key in list(model.table):
            if key in _RENAMED:
                model.table[_RENAMED[key]] = model.table.pop(key)
        if model.table or draft.get((*prefix, "model")) is not None:
            draft.move((*prefix, "model"), home)
    parallel = draft.get((*prefix, "parallel"))
    if parallel is not None and parallel.is_table:
        for key in list(parallel.table):
            if key in _PARALLEL:
                parallel.table[_PARALLEL[key]] = parallel.table.pop(key)
        draft.move((*prefix, "parallel"), home)
    extra = draft.get((*prefix, "vllm_extra"))
    if extra is not None:
        if extra.is_table:
            draft.move((*prefix, "vllm_extra"), home)
        else:
            draft.drop((*prefix, "vllm_extra"))
    for key in VLLM_KEYS:
        draft.move((*prefix, key), (*home, key))


def clients(draft: Draft, prefix: KeyPath) -> None:
    """A client has one URL."""
    for pattern in CLIENTS:
        for path in draft.find(prefix, pattern):
            node = draft.get(path)
            if node is not None and node.is_table:
                one_client(draft, path, node)


def one_client(draft: Draft, path: KeyPath, node: Node) -> None:
    """As ``clients``, for one table."""
    router = node.table.get("router_url")
    url = node.table.get("base_url")
    if router is not None and not router.is_none:
        draft.drop((*path, "base_url"))
        draft.move((*path, "router_url"), (*path, "base_url"))
        url = None
    else:
        draft.drop((*path, "router_url"))
    elastic = draft.drop((*path, "elastic"))
    if elastic is not None and not elastic.is_none:
        draft.needs_person(
            f"{dotted(path)}.elastic was left out: servers are not found by DNS any more",
            f"Put a router in front of the servers, and write its URL as {dotted(path)}.base_url.",
            elastic.source,
            node if node.table else None,
        )
        if not node.table:
            draft.drop(path)
    if url is None or type(url.value) is not list:
        return
    urls = url.value
    if len(urls) == 1:
        draft.set(url, urls[0])
    elif not urls:
        draft.drop((*path, "base_url"))
    else:
        draft.set(url, urls[0])
        draft.needs_person(
            f"{dotted(path)}.base_url has the first of {len(urls)} URLs: there is one URL now, "
            f"and {', '.join(str(one) for one in urls[1:])} would get nothing",
            f"Put a router in front of the servers, and write its URL as {dotted(path)}.base_url.",
            url.source,
            url,
        )
