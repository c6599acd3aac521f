"""Take a command line as `vllm serve` does, up to the engine's whole configuration; prints one JSON object of it.

Runs under vLLM's Python, so it needs nothing of this project: `configure.py MODS ARGUMENT…`. Before that, the proof of
every mod below the directory MODS runs, as it does in an image.
"""

import json
import runpy
import sys
from pathlib import Path

from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.entrypoints.openai.api_server import validate_api_server_args
from vllm.entrypoints.openai.cli_args import make_arg_parser, validate_parsed_serve_args
from vllm.platforms import current_platform
from vllm.utils.argparse_utils import FlexibleArgumentParser


def main() -> None:
    """Prove the mods, then parse and configure."""
    mods = sorted(path for path in Path(sys.argv[1]).iterdir() if path.is_dir())
    proofs = {mod.name: runpy.run_path(str(mod / "prove.py"))["prove"]() for mod in mods}
    arguments = make_arg_parser(FlexibleArgumentParser(prog="vllm serve")).parse_args(sys.argv[2:])
    arguments.model = arguments.model_tag
    validate_parsed_serve_args(arguments)
    configuration = AsyncEngineArgs.from_cli_args(arguments).create_engine_config()
    arguments.structured_outputs_config = configuration.structured_outputs_config
    validate_api_server_args(arguments)
    cache, speculative = configuration.cache_config, configuration.speculative_config
    found = {
        "device": current_platform.get_device_name(),
        "architecture": configuration.model_config.architecture,
        "quantization": configuration.model_config.quantization,
        "draft": speculative and speculative.draft_model_config.architecture,
        "draft_tokens": speculative and speculative.num_speculative_tokens,
        "tensor_parallel": configuration.parallel_config.tensor_parallel_size,
        "gib": cache.gpu_memory_utilization_gb,
        "fraction": cache.gpu_memory_utilization,
        "cache": cache.cache_dtype,
        "context": configuration.model_config.max_model_len,
        "proofs": proofs,
    }
    print(json.dumps(found))


main()
