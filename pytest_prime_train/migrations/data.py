"""Facts that changes of prime-rl's configs need.

Made by tools/build_changes.py; do not edit.

TASKSETS: id of a taskset -> its fields, each with the keys of its place in the taskset and the
types of JSON that it takes. SEEN: id of another taskset -> fields that prime-rl's own configs set.
WITHOUT_SUFFIX: tasksets that prime-rl's own configs name, which used to have ids with the suffix
-v1. DEFAULTS: version -> root -> keys whose default is another one since then, with the one before
and the one since; a table that is off by default has ``None``, one that is on ``"on"``.
"""

# fmt: off
# ruff: noqa
TASKSETS: dict[str, dict[str, tuple[str, str]]] = {
  'alphabet-sort': {'judges': ('task.judges', 'array'), 'max_names_per_turn': ('max_names_per_turn', 'integer'), 'max_turns': ('max_turns', 'integer'), 'metrics': ('task.metrics', 'object'), 'min_names_per_turn': ('min_names_per_turn', 'integer'), 'min_turns': ('min_turns', 'integer'), 'power_per_turn': ('task.power_per_turn', 'boolean'), 'rewards': ('task.rewards', 'object'), 'similarity_power': ('task.similarity_power', 'integer'), 'split': ('split', 'string'), 'stops': ('task.stops', 'object'), 'system_prompt': ('system_prompt', 'null string'), 'task': ('task', 'object')},
  'bash-interception': {'judges': ('task.judges', 'array'), 'metrics': ('task.metrics', 'object'), 'rewards': ('task.rewards', 'object'), 'stops': ('task.stops', 'object'), 'system_prompt': ('system_prompt', 'null string'), 'task': ('task', 'object')},
  'code-golf': {'judges': ('task.judges', 'array'), 'metrics': ('task.metrics', 'object'), 'rewards': ('task.rewards', 'object'), 'stops': ('task.stops', 'object'), 'system_prompt': ('system_prompt', 'null string'), 'task': ('task', 'object')},
  'color-codeword': {'images_per_turn': ('images_per_turn', 'integer'), 'judges': ('task.judges', 'array'), 'metrics': ('task.metrics', 'object'), 'rewards': ('task.rewards', 'object'), 'stops': ('task.stops', 'object'), 'system_prompt': ('system_prompt', 'null string'), 'task': ('task', 'object')},
  'deepwiki': {'judges': ('task.judges', 'array'), 'metrics': ('task.metrics', 'object'), 'rewards': ('task.rewards', 'object'), 'stops': ('task.stops', 'object'), 'system_prompt': ('system_prompt', 'null string'), 'task': ('task', 'object'), 'tools': ('task.tools', 'object')},
  'glossary': {'judges': ('task.judges', 'array'), 'metrics': ('task.metrics', 'object'), 'rewards': ('task.rewards', 'object'), 'stops': ('task.stops', 'object'), 'system_prompt': ('system_prompt', 'null string'), 'task': ('task', 'object'), 'tools': ('task.tools', 'object')},
  'grayscale-interception': {'judges': ('task.judges', 'array'), 'metrics': ('task.metrics', 'object'), 'rewards': ('task.rewards', 'object'), 'stops': ('task.stops', 'object'), 'system_prompt': ('system_prompt', 'null string'), 'task': ('task', 'object')},
  'gsm8k': {'judges': ('task.judges', 'array'), 'metrics': ('task.metrics', 'object'), 'rewards': ('task.rewards', 'object'), 'split': ('split', 'string'), 'stops': ('task.stops', 'object'), 'system_prompt': ('system_prompt', 'null string'), 'task': ('task', 'object')},
  'harbor': {'dataset': ('dataset', 'string'), 'ignore_dockerfile': ('ignore_dockerfile', 'boolean'), 'ignore_separate_verifier': ('ignore_separate_verifier', 'boolean'), 'ignore_timeouts': ('ignore_timeouts', 'boolean'), 'judges': ('task.judges', 'array'), 'metrics': ('task.metrics', 'object'), 'registry_path': ('registry_path', 'null string'), 'registry_url': ('registry_url', 'null string'), 'repo': ('repo', 'null string'), 'require_image': ('require_image', 'boolean'), 'resource_multiplier': ('resource_multiplier', 'number'), 'rewards': ('task.rewards', 'object'), 'stops': ('task.stops', 'object'), 'system_prompt': ('system_prompt', 'null string'), 'task': ('task', 'object'), 'tasks': ('tasks', 'array null'), 'timeout_multiplier': ('timeout_multiplier', 'number')},
  'interception': {'judge': ('task.judge', 'object'), 'judges': ('task.judges', 'array'), 'metrics': ('task.metrics', 'object'), 'rewards': ('task.rewards', 'object'), 'stops': ('task.stops', 'object'), 'system_prompt': ('system_prompt', 'null string'), 'task': ('task', 'object')},
  'kuhn-poker': {'judges': ('task.judges', 'array'), 'metrics': ('task.metrics', 'object'), 'rewards': ('task.rewards', 'object'), 'stops': ('task.stops', 'object'), 'system_prompt': ('system_prompt', 'null string'), 'task': ('task', 'object')},
  'lean': {'compile_timeout': ('task.compile_timeout', 'integer'), 'dataset': ('dataset', 'object'), 'docker_image': ('docker_image', 'string'), 'judges': ('task.judges', 'array'), 'lean_project_path': ('task.lean_project_path', 'string'), 'metrics': ('task.metrics', 'object'), 'proof_file_path': ('task.proof_file_path', 'string'), 'rewards': ('task.rewards', 'object'), 'stops': ('task.stops', 'object'), 'system_prompt': ('system_prompt', 'null string'), 'task': ('task', 'object')},
  'nemo-gym': {'dataset': ('dataset', 'string'), 'headers': ('task.headers', 'object'), 'judges': ('task.judges', 'array'), 'metrics': ('task.metrics', 'object'), 'request_timeout': ('task.request_timeout', 'number'), 'resources_url': ('task.resources_url', 'null string'), 'rewards': ('task.rewards', 'object'), 'stops': ('task.stops', 'object'), 'system_prompt': ('system_prompt', 'null string'), 'task': ('task', 'object'), 'tools': ('tools', 'object')},
  'nemo-gym-weather': {'dataset': ('dataset', 'string'), 'headers': ('task.headers', 'object'), 'judges': ('task.judges', 'array'), 'metrics': ('task.metrics', 'object'), 'request_timeout': ('task.request_timeout', 'number'), 'resources_url': ('task.resources_url', 'null string'), 'rewards': ('task.rewards', 'object'), 'stops': ('task.stops', 'object'), 'system_prompt': ('system_prompt', 'null string'), 'task': ('task', 'object'), 'tools': ('tools', 'object')},
  'openenv': {'base_url': ('base_url', 'null string'), 'env': ('env', 'null string'), 'judges': ('task.judges', 'array'), 'metrics': ('task.metrics', 'object'), 'provider_kwargs': ('provider_kwargs', 'object'), 'resets': ('resets', 'array'), 'rewards': ('task.rewards', 'object'), 'stops': ('task.stops', 'object'), 'system_prompt': ('system_prompt', 'null string'), 'task': ('task', 'object'), 'use_docker': ('use_docker', 'boolean')},
  'openenv-wordle': {'base_url': ('base_url', 'null string'), 'env': ('env', 'string'), 'judges': ('task.judges', 'array'), 'metrics': ('task.metrics', 'object'), 'provider_kwargs': ('provider_kwargs', 'object'), 'resets': ('resets', 'array'), 'rewards': ('task.rewards', 'object'), 'stops': ('task.stops', 'object'), 'system_prompt': ('system_prompt', 'null string'), 'task': ('task', 'object'), 'use_docker': ('use_docker', 'boolean')},
  'proposer-solver': {'judges': ('task.judges', 'array'), 'metrics': ('task.metrics', 'object'), 'rewards': ('task.rewards', 'object'), 'stops': ('task.stops', 'object'), 'system_prompt': ('system_prompt', 'null string'), 'task': ('task', 'object')},
  'reverse-text': {'dataset_name': ('dataset_name', 'string'), 'dataset_split': ('dataset_split', 'string'), 'judges': ('task.judges', 'array'), 'metrics': ('task.metrics', 'object'), 'rewards': ('task.rewards', 'object'), 'stops': ('task.stops', 'object'), 'system_prompt': ('system_prompt', 'null string'), 'task': ('task', 'object')},
  'scratchpad': {'judges': ('task.judges', 'array'), 'metrics': ('task.metrics', 'object'), 'rewards': ('task.rewards', 'object'), 'stops': ('task.stops', 'object'), 'system_prompt': ('system_prompt', 'null string'), 'task': ('task', 'object'), 'tools': ('tools', 'object')},
  'web-search-interception': {'judges': ('task.judges', 'array'), 'metrics': ('task.metrics', 'object'), 'rewards': ('task.rewards', 'object'), 'stops': ('task.stops', 'object'), 'system_prompt': ('system_prompt', 'null string'), 'task': ('task', 'object')},
  'wiki-search': {'judges': ('task.judges', 'array'), 'metrics': ('task.metrics', 'object'), 'rewards': ('task.rewards', 'object'), 'stops': ('task.stops', 'object'), 'system_prompt': ('system_prompt', 'null string'), 'task': ('task', 'object'), 'tools': ('tools', 'object')},
}
SEEN: dict[str, tuple[str, ...]] = {
  'browsecomp': ('task',),
  'general-agent': ('min_tier', 'task'),
  'i3-logic': ('filter',),
  'math-env': ('dataset_name', 'dataset_subset'),
  'openseeker': ('task',),
  'redsearcher': ('task',),
}
WITHOUT_SUFFIX: frozenset[str] = frozenset((
  'aime24',
  'aime25',
  'alphabet-sort',
  'bash-interception',
  'browsecomp',
  'code-golf',
  'color-codeword',
  'deepdive',
  'deepwiki',
  'general-agent',
  'glossary',
  'grayscale-interception',
  'gsm8k',
  'harbor',
  'i3-code',
  'i3-logic',
  'i3-math',
  'interception',
  'kuhn-poker',
  'lean',
  'math-env',
  'nemo-gym',
  'nemo-gym-weather',
  'openenv',
  'openenv-wordle',
  'openseeker',
  'proposer-solver',
  'r2e-gym',
  'redsearcher',
  'reverse-text',
  'scaleswe',
  'scratchpad',
  'swebench-verified',
  'terminal-bench-2',
  'tmax',
  'web-search-interception',
  'wiki-search',
  'wordle',
))
DEFAULTS: dict[str, dict[str, tuple[tuple[str, object, object], ...]]] = {
  'v0.3.0': {
    'evals': (
      ('retry.reraise', True, False),
    ),
    'orchestrator': (
      ('eval.retry.reraise', True, False),
    ),
    'rl': (
      ('orchestrator.eval.retry.reraise', True, False),
      ('trainer.model.lora.alpha', 16.0, 32.0),
      ('trainer.model.lora.target_modules', ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'], ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj', 'experts']),
    ),
    'sft': (
      ('model.lora.alpha', 16.0, 32.0),
      ('model.lora.target_modules', ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'], ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj', 'experts']),
    ),
    'synthesize': (
      ('retry.reraise', True, False),
    ),
    'trainer': (
      ('model.lora.alpha', 16.0, 32.0),
      ('model.lora.target_modules', ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'], ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj', 'experts']),
    ),
  },
  'v0.4.0': {
    'orchestrator': (
      ('sampling.temperature', 1.0, None),
    ),
    'rl': (
      ('orchestrator.sampling.temperature', 1.0, None),
      ('trainer.bench', False, None),
      ('trainer.model.fused_lm_head_chunk_size', None, 'auto'),
    ),
    'sft': (
      ('bench', False, None),
      ('model.fused_lm_head_chunk_size', None, 'auto'),
    ),
    'trainer': (
      ('bench', False, None),
      ('model.fused_lm_head_chunk_size', None, 'auto'),
    ),
  },
  'v0.5.0': {
    'inference': (
      ('model.tool_call_parser', 'hermes', None),
    ),
    'orchestrator': (
      ('batch_size', 128, None),
      ('client.api_key_var', 'OPENAI_API_KEY', 'VLLM_API_KEY'),
      ('log.vf_level', 'warn', 'info'),
      ('model.lora.alpha', 32.0, None),
      ('oversampling_factor', 1.0, None),
      ('teacher_model.client.api_key_var', 'OPENAI_API_KEY', 'VLLM_API_KEY'),
      ('teacher_model.model.lora.alpha', 32.0, None),
    ),
    'rl': (
      ('inference.model.tool_call_parser', 'hermes', None),
      ('orchestrator.batch_size', 128, None),
      ('orchestrator.client.api_key_var', 'OPENAI_API_KEY', 'VLLM_API_KEY'),
      ('orchestrator.log.vf_level', 'warn', 'info'),
      ('orchestrator.model.lora.alpha', 32.0, None),
      ('orchestrator.oversampling_factor', 1.0, None),
      ('orchestrator.teacher_model.client.api_key_var', 'OPENAI_API_KEY', 'VLLM_API_KEY'),
      ('orchestrator.teacher_model.model.lora.alpha', 32.0, None),
      ('teacher_inference.model.tool_call_parser', 'hermes', None),
      ('trainer.log.vf_level', 'warn', 'info'),
    ),
    'sft': (
      ('log.vf_level', 'warn', 'info'),
    ),
    'trainer': (
      ('log.vf_level', 'warn', 'info'),
    ),
  },
  'v0.6.0': {
    'env_server': (
      ('env.max_retries', 0, 3),
    ),
    'inference': (
      ('model.reasoning_parser', None, 'auto'),
      ('model.tool_call_parser', None, 'auto'),
    ),
    'orchestrator': (
      ('eval.env[].max_retries', 0, 3),
      ('eval.env[].num_examples', None, -1),
    ),
    'rl': (
      ('inference.model.reasoning_parser', None, 'auto'),
      ('inference.model.tool_call_parser', None, 'auto'),
      ('log.level', 'info', None),
      ('orchestrator.eval.env[].max_retries', 0, 3),
      ('orchestrator.eval.env[].num_examples', None, -1),
      ('trainer.model.lora.target_modules', ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj', 'experts'], ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj', 'experts', 'fc1_latent_proj', 'fc2_latent_proj']),
    ),
    'sft': (
      ('model.lora.target_modules', ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj', 'experts'], ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj', 'experts', 'fc1_latent_proj', 'fc2_latent_proj']),
    ),
    'trainer': (
      ('model.lora.target_modules', ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj', 'experts'], ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj', 'experts', 'fc1_latent_proj', 'fc2_latent_proj']),
    ),
  },
  'v0.7.0': {
    'env_server': (
      ('env.id', 'reverse-text', None),
      ('env.ratio', None, 1.0),
    ),
    'orchestrator': (
      ('eval.env[].id', 'reverse-text', None),
      ('eval.env[].ratio', None, 1.0),
      ('train.env[].id', 'reverse-text', None),
      ('train.env[].ratio', None, 1.0),
    ),
    'rl': (
      ('orchestrator.eval.env[].id', 'reverse-text', None),
      ('orchestrator.eval.env[].ratio', None, 1.0),
      ('orchestrator.train.env[].id', 'reverse-text', None),
      ('orchestrator.train.env[].ratio', None, 1.0),
      ('trainer.dist_timeout_seconds', 600, 3600),
      ('trainer.model.ac', None, 'on'),
      ('trainer.model.ac_offloading', None, 'on'),
      ('trainer.model.compile', None, 'on'),
      ('trainer.model.ep', 1, 'auto'),
      ('trainer.model.fused_lm_head_token_chunk_size', 'disabled', 1024),
      ('trainer.model.optim_cpu_offload', False, True),
      ('weight_broadcast.type', 'filesystem', 'nccl'),
    ),
    'sft': (
      ('dist_timeout_seconds', 600, 3600),
      ('model.ac', None, 'on'),
      ('model.ac_offloading', None, 'on'),
      ('model.compile', None, 'on'),
      ('model.ep', 1, 'auto'),
      ('model.fused_lm_head_token_chunk_size', 'disabled', 1024),
      ('model.optim_cpu_offload', False, True),
    ),
    'trainer': (
      ('dist_timeout_seconds', 600, 3600),
      ('model.ac', None, 'on'),
      ('model.ac_offloading', None, 'on'),
      ('model.compile', None, 'on'),
      ('model.ep', 1, 'auto'),
      ('model.fused_lm_head_token_chunk_size', 'disabled', 1024),
      ('model.optim_cpu_offload', False, True),
    ),
  },
  'v0.8.0': {
    'orchestrator': (
      ('rollout_transport.type', 'filesystem', 'zmq'),
    ),
    'rl': (
      ('orchestrator.rollout_transport.type', 'filesystem', 'zmq'),
      ('trainer.model.attn', 'flash_attention_2', 'auto'),
      ('trainer.rollout_transport.type', 'filesystem', 'zmq'),
    ),
    'sft': (
      ('model.attn', 'flash_attention_2', 'auto'),
    ),
    'trainer': (
      ('model.attn', 'flash_attention_2', 'auto'),
      ('rollout_transport.type', 'filesystem', 'zmq'),
    ),
  },
  'main-2026-08-21': {
    'env_server': (
      ('serve.address', 'tcp://127.0.0.1:5000', None),
    ),
    'orchestrator': (
      ('algo.renderer.enable_thinking', True, False),
      ('output_dir', 'outputs/run_default', 'outputs'),
      ('renderer.enable_thinking', True, False),
      ('train.source[].algo.renderer.enable_thinking', True, False),
    ),
    'rl': (
      ('orchestrator.algo.renderer.enable_thinking', True, False),
      ('orchestrator.output_dir', 'outputs/run_default', 'outputs'),
      ('orchestrator.renderer.enable_thinking', True, False),
      ('orchestrator.train.source[].algo.renderer.enable_thinking', True, False),
      ('trainer.model.fused_lm_head_token_chunk_size', 1024, 8192),
    ),
    'sft': (
      ('model.fused_lm_head_token_chunk_size', 1024, 8192),
      ('renderer.enable_thinking', True, False),
    ),
    'trainer': (
      ('model.fused_lm_head_token_chunk_size', 1024, 8192),
    ),
  },
}
