"""What is left over of earlier images: argv[1] is JSON {"policy"}; prints JSON {"used": [...], "plan": [...]}.

The host's own program decides; where it is not installed yet, nothing of ours is there either.
"""

import json
import pathlib
import sys

PROGRAMS = "/usr/local/lib/gx10"
policy = json.loads(sys.argv[1])["policy"]
told = {"used": [], "plan": []}
if pathlib.Path(PROGRAMS, "image_gc.py").exists():
    sys.path.insert(0, PROGRAMS)
    sys.dont_write_bytecode = True
    import image_gc
    from manifest import Wrong

    try:
        known = image_gc.read_json(policy["used"], [])
        told = {"used": known if isinstance(known, list) else [], "plan": image_gc.plan(policy)}
    except Wrong as error:
        sys.exit(f"images: {error}")
print(json.dumps(told))
