"""How a model can be split: argv[0] is JSON {"directories"}; prints JSON {"shape": null or {"heads", "layers"}}.

Read from the first of these directories that has a config.json; null where none has one, or it does not say.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Sequence

MOST_BYTES = 4 << 20


def shape(path: pathlib.Path) -> dict[str, int] | None:
    """Heads and layers of the text model, where a configuration tells both."""
    try:
        if path.stat().st_size > MOST_BYTES:
            return None
        told = json.loads(path.read_bytes())
        for each in (told, told.get("text_config"), told.get("llm_config")):
            if isinstance(each, dict):
                heads, layers = each.get("num_attention_heads"), each.get("num_hidden_layers")
                # A bool is an int as well, and counts nothing.
                if type(heads) is int and type(layers) is int and heads > 0 and layers > 0:
                    return {"heads": heads, "layers": layers}
    except (OSError, ValueError, AttributeError):
        pass
    return None


def main(argv: Sequence[str]) -> int:
    paths = [pathlib.Path(directory, "config.json") for directory in json.loads(argv[0])["directories"]]
    print(json.dumps({"shape": next((shape(path) for path in paths if path.is_file()), None)}))
    return 0
