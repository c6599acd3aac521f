"""How a model can be split: argv[0] is JSON {"directories"}; prints JSON {"shape": null or {"heads", "layers"}}.

Read from the first of these directories that has a config.json; null where none has one, or it does not say.
"""

import json
import pathlib

MOST_BYTES = 4 << 20


def shape(path):
    """Heads and layers of the text model, where a configuration tells both."""
    try:
        if path.stat().st_size > MOST_BYTES:
            return None
        told = json.loads(path.read_bytes())
        for each in (told, told.get("text_config"), told.get("llm_config")):
            if isinstance(each, dict):
                found = {"heads": each.get("num_attention_heads"), "layers": each.get("num_hidden_layers")}
                if all(type(count) is int and count > 0 for count in found.values()):
                    return found
    except (OSError, ValueError, AttributeError):
        pass
    return None


def main(argv):
    paths = [pathlib.Path(directory, "config.json") for directory in json.loads(argv[0])["directories"]]
    print(json.dumps({"shape": next((shape(path) for path in paths if path.is_file()), None)}))
