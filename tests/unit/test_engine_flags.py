"""The rendered command is understood in every spelling that vLLM's own parser takes."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gx10.engine.vllm.catalogue import VLLM_VERSION, Flag, catalogue
from gx10.engine.vllm.flags import Command, parse
from gx10.engine.vllm.mods import MOD_FLAGS, added_flags
from gx10.engine.vllm.spelling import normalised
from gx10.engine.vllm.values import human_int

SPELLINGS: list[tuple[str, dict[str, Any]]] = [
    ("--tensor-parallel-size 4", {"tensor_parallel_size": 4}),
    ("--tensor_parallel_size 4", {"tensor_parallel_size": 4}),
    ("--tensor_parallel-size=4", {"tensor_parallel_size": 4}),
    ("-tp 4", {"tensor_parallel_size": 4}),
    ("-tp=4", {"tensor_parallel_size": 4}),
    ("--tensor-parallel 4", {"tensor_parallel_size": 4}),
    ("-q awq", {"quantization": "awq"}),
    ("-qawq", {"quantization": "awq"}),
    ("--max-model-len 256k", {"max_model_len": 256_000}),
    ("--max-model-len 256K", {"max_model_len": 262_144}),
    ("--max-model-len auto", {"max_model_len": -1}),
    ("--max-num-batched-tokens 25.6k", {"max_num_batched_tokens": 25_600}),
    ("--trust-remote-code", {"trust_remote_code": True}),
    ("--no-trust-remote-code", {"trust_remote_code": False}),
    ("--no_enable_prefix_caching", {"enable_prefix_caching": False}),
    ("-ep", {"enable_expert_parallel": True}),
    ("--headless", {"headless": True}),
    ("--served-model-name a b", {"served_model_name": ("a", "b")}),
    ("--cudagraph-capture-sizes 1 2 4", {"cudagraph_capture_sizes": (1, 2, 4)}),
    ("--middleware a.b --middleware c.d", {"middleware": ("a.b", "c.d")}),
    ("--speculative_config.method mtp", {"speculative_config": {"method": "mtp"}}),
    (
        "--speculative-config.method mtp --speculative_config.num_speculative_tokens 3",
        {"speculative_config": {"method": "mtp", "num_speculative_tokens": 3}},
    ),
    ("-cc.mode 0", {"compilation_config": {"mode": 0}}),
    ("-cc.mode=0 -cc.cudagraph_mode NONE", {"compilation_config": {"mode": 0, "cudagraph_mode": "NONE"}}),
    (
        "--compilation-config.pass_config.fuse_allreduce_rms false",
        {"compilation_config": {"pass_config": {"fuse_allreduce_rms": False}}},
    ),
    (
        "--compilation-config.custom_ops+ none,+rms_norm --compilation-config.custom_ops+=-silu",
        {"compilation_config": {"custom_ops": ["none", "+rms_norm", "-silu"]}},
    ),
    ("""-sc '{"method": "ngram"}'""", {"speculative_config": {"method": "ngram"}}),
    ("--kv-transfer-config.kv_buffer_size 2k", {"kv_transfer_config": {"kv_buffer_size": 2000}}),
    ("""--kv-transfer-config '{"kv_buffer_size": 2K}'""", {"kv_transfer_config": {"kv_buffer_size": 2048}}),
    ("-O3", {"optimization_level": "3"}),
    ("-O 3", {"optimization_level": "3"}),
    ("-O=2", {"optimization_level": "2"}),
    ("--moe-backend Flashinfer-Cutlass", {"moe_backend": "flashinfer_cutlass"}),
    ("--max-log-len None", {"max_log_len": None}),
    ("--hf-overrides.rope_theta 1000000", {"hf_overrides": {"rope_theta": 1_000_000}}),
    ("--gpu-memory-utilization-gb 108", {"gpu_memory_utilization_gb": 108.0}),
    ("--gpu_memory_utilization_gb=107.5", {"gpu_memory_utilization_gb": 107.5}),
]


def understood(arguments: str) -> Command:
    """The command of a model with these arguments and the memory mod."""
    known = catalogue().with_flags(added_flags(("mods/gpu-mem-util-gb",)))
    return parse(["vllm", "serve", "/m", *shlex.split(arguments)], known)


@pytest.mark.parametrize(("arguments", "values"), SPELLINGS, ids=[arguments for arguments, _ in SPELLINGS])
def test_every_spelling_of_a_flag_is_understood(arguments: str, values: dict[str, Any]) -> None:
    command = understood(arguments)
    assert command.issues == ()
    assert command.model == "/m"
    assert {dest: given.value for dest, given in command.flags.items()} == values


def test_the_model_may_be_given_as_a_flag() -> None:
    assert parse(shlex.split("vllm serve --port 8001 --model /m"), catalogue()).model == "/m"
    assert parse(shlex.split("vllm serve --model=/m --port 8001"), catalogue()).model == "/m"


def test_the_short_forms_of_speculation_join_the_long_one() -> None:
    command = understood("--spec-method mtp --spec-tokens 3")
    assert command.speculative == {"method": "mtp", "num_speculative_tokens": 3}


def test_the_gpus_needed_are_the_product_of_the_parallel_sizes() -> None:
    assert understood("-tp 2 -pp 2 -dp 3").world_size == 12
    assert understood("").world_size == 1


def test_a_flag_of_a_mod_is_unknown_without_it() -> None:
    command = parse(["vllm", "serve", "/m", "--gpu-memory-utilization-gb", "108"], catalogue())
    assert [issue.remedy for issue in command.issues] == ["Add `gpu-mem-util-gb` under mods, or remove the flag."]


def test_all_mistakes_are_found_in_one_pass() -> None:
    command = understood("--prot 1 --kv-cache-dtype int3 --max-num-seqs six --max 3 -cc.mod 0 --port")
    refused = {"", "compilation_config", "kv_cache_dtype", "max_num_seqs", "port"}
    assert {issue.dest for issue in command.issues} == refused
    assert len(command.issues) == 6


def test_the_snapshot_is_of_the_version_it_is_named_after() -> None:
    assert catalogue().vllm == VLLM_VERSION
    assert len(catalogue().flags) > 250


def test_a_mods_flag_is_not_one_that_vllm_has() -> None:
    spellings = catalogue().spellings()
    assert not [flag for flags in MOD_FLAGS.values() for flag in flags if set(flag.spellings) & spellings.keys()]


VALUED = [flag for flag in catalogue().flags if flag.type == "int" and flag.kind == "value" and not flag.choices]


# No deadline: other work on the machine is no defect of the parser.
@settings(deadline=None)
@given(flag=st.sampled_from(VALUED), value=st.integers(0, 10**6), data=st.data())
def test_a_flag_means_the_same_however_its_name_is_written(flag: Flag, value: int, data: st.DataObject) -> None:
    name = flag.name.removeprefix("--")
    written = "--" + "".join(data.draw(st.sampled_from("-_")) if letter == "-" else letter for letter in name)
    words = [f"{written}={value}"] if data.draw(st.booleans()) else [written, str(value)]
    if flag.nargs == "+":
        assert parse(["vllm", "serve", "/m", *words], catalogue()).value(flag.dest) == (value,)
    elif flag.dest != "config":
        assert parse(["vllm", "serve", "/m", *words], catalogue()).value(flag.dest) == value


@settings(deadline=None)
@given(words=st.lists(st.text("-._=ab0{\"'", min_size=1, max_size=6), max_size=6))
def test_no_command_line_crashes_the_parser(words: list[str]) -> None:
    parse(["vllm", "serve", *words], catalogue())
    normalised(words)


@pytest.mark.parametrize(
    ("text", "value"), [("8192", 8192), ("8k", 8000), ("8K", 8192), ("1M", 1 << 20), ("1.5m", 1_500_000)]
)
def test_a_number_for_people_is_read_as_vllm_reads_it(text: str, value: int) -> None:
    assert human_int(text) == value
