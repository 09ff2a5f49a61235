"""Names of vLLM's server and engine arguments.

From the public documentation of the releases 0.10 to 0.2x, as read in August 2026. No release has
all of them, and a newer one may have more.
"""

from __future__ import annotations

_NAMES = """
    additional_config all2all_backend allow_credentials allowed_headers
    allowed_local_media_path allowed_media_domains allowed_methods allowed_origins api_key
    api_server_count async_scheduling attention_backend attention_config block_size
    calculate_kv_scales chat_template chat_template_content_format code_revision
    collect_detailed_traces compilation_config config config_format convert cpu_offload_gb
    cuda_graph_sizes cudagraph_capture_sizes cudagraph_metrics data_parallel_address
    data_parallel_backend data_parallel_external_lb data_parallel_hybrid_lb
    data_parallel_rank data_parallel_rpc_port data_parallel_size data_parallel_size_local
    data_parallel_start_rank dbo_decode_token_threshold dbo_prefill_token_threshold
    dcp_kv_cache_interleave_size decode_context_parallel_size default_chat_template_kwargs
    default_mm_loras disable_cascade_attn disable_chunked_mm_input disable_custom_all_reduce
    disable_fastapi_docs disable_frontend_multiprocessing disable_hybrid_kv_cache_manager
    disable_log_requests disable_log_stats disable_nccl_for_dp_synchronization
    disable_sliding_window disable_uvicorn_access_log distributed_executor_backend
    download_dir dtype ec_transfer_config enable_auto_tool_choice enable_chunked_prefill
    enable_dbo enable_ep_weight_filter enable_eplb enable_expert_parallel
    enable_flashinfer_autotune enable_force_include_usage enable_log_deltas
    enable_log_outputs enable_log_requests enable_lora enable_lora_bias enable_mfu_metrics
    enable_mm_embeds enable_offline_docs enable_prefix_caching enable_prompt_embeds
    enable_prompt_tokens_details enable_request_id_headers enable_return_routed_experts
    enable_server_load_tracking enable_sleep_mode enable_ssl_refresh
    enable_tokenizer_info_endpoint enforce_eager eplb_config eplb_step_interval
    eplb_window_size exclude_tools_when_tool_choice_none expert_placement_strategy
    fully_sharded_loras generation_config gpu_memory_utilization guided_decoding_backend
    h11_max_header_count h11_max_incomplete_event_size headless hf_config_path hf_overrides
    hf_token host ignore_patterns interleave_mm_strings io_processor_plugin ir_op_priority
    kv_cache_dtype kv_cache_dtype_skip_layers kv_cache_memory_bytes kv_cache_metrics
    kv_events_config kv_offloading_backend kv_offloading_size kv_sharing_fast_prefill
    kv_transfer_config language_model_only limit_mm_per_prompt liveness_timeout_seconds
    load_format log_config_file log_error_stack logits_processors logprobs_mode
    long_prefill_token_threshold lora_dtype lora_modules lora_target_modules
    mamba_block_size mamba_cache_dtype mamba_cache_mode mamba_ssm_cache_dtype master_addr
    master_port max_cpu_loras max_cudagraph_capture_size max_log_len max_logprobs
    max_long_partial_prefills max_lora_rank max_loras max_model_len max_num_batched_tokens
    max_num_partial_prefills max_num_seqs max_parallel_loading_workers media_io_kwargs
    middleware mm_encoder_attn_backend mm_encoder_tp_mode mm_processor_cache_gb
    mm_processor_cache_type mm_processor_kwargs mm_shm_cache_max_object_size_mb model
    model_impl model_loader_extra_config moe_backend nnodes node_rank
    num_gpu_blocks_override num_lookahead_slots num_redundant_experts numa_bind
    optimization_level otlp_traces_endpoint override_attention_dtype
    override_generation_config pipeline_parallel_size pooler_config port
    prefill_context_parallel_size prefix_caching_hash_algo profiler_config
    pt_load_map_location quantization ray_workers_use_nsight reasoning_parser
    reasoning_parser_plugin renderer_num_workers response_role return_tokens_as_token_ids
    revision root_path rope_scaling rope_theta runner safetensors_load_strategy
    scheduler_cls scheduling_policy seed served_model_name show_hidden_metrics_for_version
    skip_mm_profiling skip_tokenizer_init speculative_config ssl_ca_certs ssl_cert_reqs
    ssl_certfile ssl_keyfile stream_interval structured_outputs_backend
    structured_outputs_config swap_space tensor_parallel_size tokenizer tokenizer_mode
    tokenizer_revision tokens_only tool_call_parser tool_parser_plugin tool_server
    trust_remote_code trust_request_chat_template ubatch_size uds use_tqdm use_tqdm_on_load
    uvicorn_log_level video_pruning_rate weight_transfer_config worker_cls
    worker_extension_cls
"""

VLLM_ARGUMENTS = frozenset(_NAMES.split())
"""Snake case, as prime-rl takes them under ``[inference.vllm]``."""
