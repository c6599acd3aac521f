"""What is left over of earlier images: argv[0] is JSON {"policy"}; prints JSON {"used": [...], "plan": [...]}.

`used` are the references that this host was told to use, as it noted them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from gx10_host.content.manifest import Wrong, read_json
from gx10_host.image import gc as image_gc


def main(argv: Sequence[str]) -> int:
    policy = json.loads(argv[0])["policy"]
    try:
        known = read_json(policy["used"], [])
        print(json.dumps({"used": known if isinstance(known, list) else [], "plan": image_gc.plan(policy)}))
    except Wrong as error:
        sys.exit(f"images: {error}")
    return 0
