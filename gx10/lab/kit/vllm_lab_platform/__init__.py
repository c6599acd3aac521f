"""Lets vLLM's CPU engine take a GB10 cluster's command line: out-of-tree platform plugin of the lab's engine image.

vLLM finds it through the entry point group `vllm.platform_plugins`, loads it in every process (API server, engine
core, each Ray actor) and uses the class that `register` names in place of its own CPU platform.
"""

import os
import sys


def register() -> str:
    """Name the platform class, after switching off a compiler that the lab's hosts do not have."""
    # torch.compile would look for a C++ compiler and for Triton; the lab's image carries neither.
    os.environ["TORCHDYNAMO_DISABLE"] = "1"
    dynamo = sys.modules.get("torch._dynamo.config")
    if dynamo is not None:
        dynamo.disable = True  # type: ignore[attr-defined]
    return f"{__name__}.platform.LabPlatform"
