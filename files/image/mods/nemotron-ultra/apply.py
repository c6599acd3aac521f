#!/usr/bin/env python3
"""Register what Nemotron 3 Ultra needs in a vLLM that has the code but not the names: `apply.py SITE`.

From 0.22.0 on vLLM has the architecture, its draft head and the parser, and there is nothing to do. Older builds of the
main branch may have the model without its draft head's registration, or lack the parser. A wheel without the model's
code cannot be helped by a mod and is refused.
"""

import json
import sys
from pathlib import Path

REGISTRY = "vllm/model_executor/models/registry.py"
PARSERS = "vllm/reasoning/__init__.py"
PARSER = "vllm/reasoning/nemotron_v3_reasoning_parser.py"
# name of the architecture -> (module that implements it, its class, the table of the registry it belongs to)
ARCHITECTURES = {
    "NemotronHForCausalLM": ("nemotron_h", "NemotronHForCausalLM", "_TEXT_GENERATION_MODELS = {\n"),
    "NemotronHMTPModel": ("nemotron_h_mtp", "NemotronHMTP", "_SPECULATIVE_DECODING_MODELS = {\n"),
}
PARSER_TABLE = "_REASONING_PARSERS_TO_REGISTER = {\n"
PARSER_SOURCE = '''"""Reasoning parser of Nemotron 3: DeepSeek-R1's, with an answer where thinking is switched off."""

from vllm.reasoning.deepseek_r1_reasoning_parser import DeepSeekR1ReasoningParser


class NemotronV3ReasoningParser(DeepSeekR1ReasoningParser):
    def extract_reasoning(self, model_output, request):
        reasoning, content = super().extract_reasoning(model_output, request)
        options = getattr(request, "chat_template_kwargs", None) or {}
        wants_content = options.get("enable_thinking") is False or options.get("force_nonempty_content") is True
        if wants_content and not (content or "").strip():
            return content, reasoning
        return reasoning, content
'''


def insert(path: Path, after: str, line: str) -> None:
    """Add a line below the head of a table that must be there exactly once."""
    text = path.read_text()
    if text.count(after) != 1:
        sys.exit(f"{path} has {text.count(after)} tables {after.strip()!r}, expected one. This vLLM is not known.")
    path.write_text(text.replace(after, after + line))


def main() -> None:
    """Add what is missing and print what was done."""
    site = Path(sys.argv[1])
    done, files = [], set()
    for name, (module, cls, table) in ARCHITECTURES.items():
        if f'"{name}": (' in (site / REGISTRY).read_text():
            continue
        if not (site / "vllm/model_executor/models" / f"{module}.py").exists():
            sys.exit(
                f"This vLLM has no models/{module}.py, so no mod can register {name}. Use a wheel of 0.22.0 or newer."
            )
        insert(site / REGISTRY, table, f'    "{name}": ("{module}", "{cls}"),\n')
        done.append(name)
        files.add(REGISTRY)
    if '"nemotron_v3"' not in (site / PARSERS).read_text():
        insert(
            site / PARSERS,
            PARSER_TABLE,
            '    "nemotron_v3": ("nemotron_v3_reasoning_parser", "NemotronV3ReasoningParser"),\n',
        )
        (site / PARSER).write_text(PARSER_SOURCE)
        done.append("nemotron_v3")
        files |= {PARSERS, PARSER}
    note = f"registered {', '.join(done)}" if done else "nothing to do: this vLLM has the architecture and the parser"
    print(json.dumps({"note": note, "files": sorted(files)}))


if __name__ == "__main__":
    main()
