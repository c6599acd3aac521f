"""Proof that the engine that is installed knows Nemotron 3 Ultra by name."""


def prove() -> dict[str, object]:
    """Ask vLLM's own registries."""
    from vllm.model_executor.models.registry import ModelRegistry
    from vllm.reasoning import ReasoningParserManager

    architectures = set(ModelRegistry.get_supported_archs())
    for name in ("NemotronHForCausalLM", "NemotronHMTPModel"):
        if name not in architectures:
            raise AssertionError(f"vLLM does not know the architecture {name}")
    parser = ReasoningParserManager.get_reasoning_parser("nemotron_v3")
    return {"architecture": "NemotronHForCausalLM", "reasoning_parser": parser.__name__}
