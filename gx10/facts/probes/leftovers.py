"""What is left over of earlier images: argv[1] is JSON {"policy"}; prints JSON {"used": [...], "plan": [...]}.

`used` are the references that this host was told to use, as it noted them.
"""

import json
import sys

import image_gc
from manifest import Wrong, read_json

policy = json.loads(sys.argv[1])["policy"]
try:
    known = read_json(policy["used"], [])
    print(json.dumps({"used": known if isinstance(known, list) else [], "plan": image_gc.plan(policy)}))
except Wrong as error:
    sys.exit(f"images: {error}")
