"""Asks the served model for a completion, because neither a port nor /health nor a running container means ready.

    gx10-host completion --url URL --model NAME [--wait SECONDS] [--prompt TEXT] [--tokens N] [--metrics] [--past-door]

Prints one JSON object: {"text", "tokens", "first", "seconds"}, and with --metrics what the engine says of its cache.
Without --wait it asks once; with it, it gives up early only on an answer that no waiting changes, such as an unknown
model.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

from .api import Api, NoAnswer

ONE_ANSWER_SECONDS, METRICS_SECONDS = 120, 10


def answered(arguments: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """What the model answered, as this program prints it."""
    api = Api(arguments.url, arguments.model, past_door=arguments.past_door)
    answer = api.completion(arguments.prompt, arguments.tokens, seconds)
    told = {"text": answer.text, "tokens": answer.tokens, "first": answer.first_seconds, "seconds": answer.seconds}
    return {**told, "cache_config": api.metrics(METRICS_SECONDS).configuration} if arguments.metrics else told


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--wait", type=float, default=0)
    parser.add_argument("--prompt", default="Say hello.")
    parser.add_argument("--tokens", type=int, default=8)
    parser.add_argument("--metrics", action="store_true")
    parser.add_argument("--past-door", action="store_true")
    arguments = parser.parse_args(argv)
    until = time.monotonic() + arguments.wait
    while True:
        left = until - time.monotonic() if arguments.wait else ONE_ANSWER_SECONDS
        try:
            print(json.dumps(answered(arguments, max(1, min(ONE_ANSWER_SECONDS, left)))), flush=True)
            return 0
        except NoAnswer as refusal:
            if refusal.final or time.monotonic() >= until:
                sys.exit(f"completion: {arguments.model} at {arguments.url} did not answer: {refusal}")
        time.sleep(max(0, min(0.5, until - time.monotonic())))
