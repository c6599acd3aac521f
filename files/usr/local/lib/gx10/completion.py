#!/usr/bin/env python3
"""Asks the served model for a completion, because neither a port nor /health nor a running container means ready.

    completion.py --url URL --model NAME [--wait SECONDS] [--prompt TEXT] [--tokens N] [--metrics]

Prints one JSON object: {"text", "tokens", "seconds"}, and with --metrics what the engine says of its cache. Without
--wait it asks once.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
import urllib.error
import urllib.request

ONE_ANSWER_SECONDS = 120


def ask(url, model, prompt, tokens):
    """One chat completion; raises when no token came."""
    body = {"model": model, "messages": [{"role": "user", "content": prompt}], "max_tokens": tokens, "temperature": 0}
    request = urllib.request.Request(
        f"{url}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    started = time.monotonic()
    with urllib.request.urlopen(request, timeout=ONE_ANSWER_SECONDS) as response:
        answer = json.load(response)
    message = answer["choices"][0]["message"]
    text = (message.get("reasoning") or message.get("reasoning_content") or "") + (message.get("content") or "")
    generated = answer["usage"]["completion_tokens"]
    if generated < 1:
        raise ValueError(f"the answer holds no token: {answer}")
    return {"text": text, "tokens": generated, "seconds": round(time.monotonic() - started, 3)}


def cache_config(url):
    """Labels of the engine's metric vllm:cache_config_info: the configuration it really runs with."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as response:
        text = response.read().decode()
    found = re.search(r"^vllm:cache_config_info\{(.*)\} ", text, re.MULTILINE)
    return dict(re.findall(r'(\w+)="([^"]*)"', found[1])) if found else {}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--wait", type=float, default=0)
    parser.add_argument("--prompt", default="Say hello.")
    parser.add_argument("--tokens", type=int, default=8)
    parser.add_argument("--metrics", action="store_true")
    arguments = parser.parse_args()
    until = time.monotonic() + arguments.wait
    while True:
        try:
            told = ask(arguments.url, arguments.model, arguments.prompt, arguments.tokens)
            if arguments.metrics:
                told["cache_config"] = cache_config(arguments.url)
            print(json.dumps(told), flush=True)
            return
        except urllib.error.HTTPError as error:
            reason = f"HTTP {error.code}: {error.read(300).decode(errors='replace')}"
        except (OSError, ValueError, KeyError) as error:
            reason = str(error)
        if time.monotonic() > until:
            sys.exit(f"completion: {arguments.model} at {arguments.url} did not answer: {reason}")
        time.sleep(1)


if __name__ == "__main__":
    main()
