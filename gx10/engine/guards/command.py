"""Guards of the command: what vLLM's parser refuses, and what it lets through but cannot run."""

from __future__ import annotations

from collections.abc import Iterator

from gx10.settings import Problem
from gx10.settings.secrets import HIDDEN

from ..vllm.flags import Issue
from ..vllm.values import closest
from .subject import Served

SECRET_FLAGS = {"api_key": "the API key", "hf_token": "the Hugging Face token"}


def command_problems(served: Served) -> Iterator[Problem]:
    """Everything about the command that needs no knowledge of the hosts."""
    yield from (_of_issue(served, issue) for issue in served.command.issues)
    yield from _names(served)
    yield from _speculation(served)
    yield from _state_rounding(served)
    yield from _pairs(served)
    yield from _loader(served)
    yield from _secrets(served)


def _of_issue(served: Served, issue: Issue) -> Problem:
    return served.problem(issue.dest, issue.rule, issue.remedy, found=issue.found)


def _names(served: Served) -> Iterator[Problem]:
    """Names that vLLM looks up only after the weights are loaded, or while it builds the model."""
    command = served.command
    checks = (
        ("reasoning_parser", command.value("reasoning_parser"), "reasoning_parsers", "reasoning_parser_plugin"),
        ("tool_call_parser", command.value("tool_call_parser"), "tool_parsers", "tool_parser_plugin"),
        (
            "structured_outputs_config",
            command.nested("structured_outputs_config", "reasoning_parser"),
            "reasoning_parsers",
            "reasoning_parser_plugin",
        ),
        ("mamba_backend", command.value("mamba_backend"), "mamba_backends", ""),
        ("attention_backend", command.value("attention_backend"), "attention_backends", ""),
        ("attention_config", command.nested("attention_config", "backend"), "attention_backends", ""),
        ("quantization", command.value("quantization"), "quantization_methods", ""),
        ("load_format", command.value("load_format"), "load_formats", ""),
        ("distributed_executor_backend", command.value("distributed_executor_backend"), "executor_backends", ""),
    )
    for dest, value, kind, plugin in checks:
        if not value or (plugin and plugin in command) or _is_class_path(str(value)):
            continue
        known = command.names[kind]
        folded = {name.lower() for name in known} | ({"auto"} if kind == "attention_backends" else set())
        if str(value).lower() not in folded or (kind.endswith("_parsers") and value not in known):
            yield _unknown_name(served, dest, str(value), kind)


def _is_class_path(value: str) -> bool:
    """An executor may be given as the import path of a class."""
    return value.count(".") > 1


def _unknown_name(served: Served, dest: str, value: str, kind: str) -> Problem:
    known = sorted(name if kind.endswith("_parsers") else name.lower() for name in served.command.names[kind])
    near = closest(value, known)
    remedy = f"Did you mean {near}?" if near else f"Use one of: {', '.join(known)}."
    what = kind.removesuffix("s").replace("_", " ")
    reason = "vLLM's argument parser takes any word here, and the engine dies after minutes of loading"
    return served.problem(dest, f"vLLM has no {what} {value!r}", remedy, reason)


def _speculation(served: Served) -> Iterator[Problem]:
    command = served.command
    dest = "speculative_config" if "speculative_config" in command else "spec_method"
    configuration = command.speculative
    method = configuration.get("method")
    if method is not None and method not in command.names["speculative_methods"]:
        yield _unknown_name(served, dest, str(method), "speculative_methods")
    if configuration and method is None and configuration.get("model") is None:
        remedy = 'Add "method", such as "mtp".'
        yield served.problem(dest, "a speculative configuration needs a method or a draft model", remedy)
    both = {"method": "spec_method", "model": "spec_model", "num_speculative_tokens": "spec_tokens"}
    for key, short in both.items():
        if short in command and command.nested("speculative_config", key) is not None:
            rule = f"--{short.replace('_', '-')} and {key} in --speculative-config exclude each other"
            yield served.problem(short, rule, "Keep one of them.")
    tokens = configuration.get("num_speculative_tokens")
    if tokens is not None and (not isinstance(tokens, int) or isinstance(tokens, bool) or tokens < 1):
        yield served.problem(dest, "num_speculative_tokens must be a whole number above 0", "Write 1, 2 or 3.")


def _state_rounding(served: Served) -> Iterator[Problem]:
    command = served.command
    if not command.value("enable_mamba_cache_stochastic_rounding"):
        return
    if command.value("mamba_ssm_cache_dtype") != "float16":
        yield served.problem(
            "mamba_ssm_cache_dtype",
            "stochastic rounding of the Mamba state needs --mamba-ssm-cache-dtype float16, said explicitly",
            "Write --mamba-ssm-cache-dtype float16, or remove --enable-mamba-cache-stochastic-rounding.",
            "float32 state needs no rounding and doubles the cache; with any other type vLLM refuses to start",
        )


def _pairs(served: Served) -> Iterator[Problem]:
    """Flags that need each other, and flags that exclude each other."""
    command = served.command
    if command.value("enable_auto_tool_choice") and not command.value("tool_call_parser"):
        yield served.problem(
            "enable_auto_tool_choice",
            "--enable-auto-tool-choice needs --tool-call-parser",
            "Add the parser that fits the model, such as --tool-call-parser qwen3_coder.",
        )
    if "gpu_memory_utilization_gb" in command:
        for other in ("kv_cache_memory_bytes", "gpu_memory_utilization"):
            if other in command:
                yield served.problem(
                    other,
                    "the memory budget is given twice: --gpu-memory-utilization-gb excludes this flag",
                    f"Remove {command.shown(other)}, and keep the budget in GiB.",
                )
    if command.value("enable_log_outputs") and not command.value("enable_log_requests"):
        yield served.problem(
            "enable_log_outputs", "--enable-log-outputs needs --enable-log-requests", "Add it, or remove this flag."
        )


def _loader(served: Served) -> Iterator[Problem]:
    extra = served.command.value("model_loader_extra_config")
    if isinstance(extra, dict) and served.command.value("load_format", "auto") in {"auto", "hf", "safetensors", "pt"}:
        known = served.command.names["loader_extra_keys"]
        for key in sorted(extra.keys() - known):
            near = closest(key, known)
            remedy = f"Did you mean {near}?" if near else f"The keys are: {', '.join(sorted(known))}."
            rule = f"the default loader has no key {key}"
            yield served.problem("model_loader_extra_config", rule, remedy, "it says so only when it starts to load")


def _secrets(served: Served) -> Iterator[Problem]:
    for dest, what in SECRET_FLAGS.items():
        if dest in served.command:
            yield Problem(
                served.file,
                served.key(dest),
                f"--{dest.replace('_', '-')} with {HIDDEN}",
                f"{what} never stands in a recipe",
                "Keep it in a file that only root reads on the head, and remove the flag.",
                "a command line is shown by ps, docker inspect and the journal",
            )
