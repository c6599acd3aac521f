"""A client that asks for streamed completions, one JSON line each; run in the lab's own network, outside of its hosts.

    client.py --url URL --model NAME --every SECONDS --tokens N

Outcomes: `ok`; `refused` before a byte of an answer; `error`, an answer that says so; `cut`, an answer that ended
before its end; `late`, none within 90 seconds.
"""

from __future__ import annotations

import argparse
import http.client
import json
import socket
import threading
import time
from urllib.parse import urlsplit

LATE_SECONDS = 90
KEEP_ALIVE = {socket.TCP_KEEPIDLE: 10, socket.TCP_KEEPINTVL: 5, socket.TCP_KEEPCNT: 4}
"""A host that loses its power sends nothing: a client that waits for an answer hears of it only by asking."""


def once(url: str, model: str, tokens: int, words: int = 0, late: float = LATE_SECONDS) -> dict[str, object]:
    """Ask once, with a prompt of so many words more, none of which an earlier prompt began with."""
    parts = urlsplit(url)
    started = time.time()
    prompt = f"{started} " * words + "Say hello."
    body = {"model": model, "messages": [{"role": "user", "content": prompt}], "max_tokens": tokens}
    body |= {"stream": True, "ignore_eos": True, "temperature": 0}
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=late)
    outcome, begun, said = "ok", False, ""
    try:
        connection.connect()
        for option, value in KEEP_ALIVE.items():
            connection.sock.setsockopt(socket.IPPROTO_TCP, option, value)
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.request(
            "POST",
            "/v1/chat/completions",
            json.dumps(body),
            {"Content-Type": "application/json", "Connection": "close"},
        )
        answer = connection.getresponse()
        begun = answer.status == 200
        text = answer.read().decode(errors="replace")
        if answer.status != 200:
            outcome, said = "error", f"HTTP {answer.status}"
        elif "data: [DONE]" not in text:
            outcome, said = "cut", text[-200:]
        elif '"error"' in text:
            outcome, said = "error", text[-200:]
        elif '"finish_reason":"abort"' in text:
            outcome, said = "cut", "abort"
    except (TimeoutError, socket.timeout):  # noqa: UP041 - the same since 3.10, named for who reads
        outcome = "late"
    except (OSError, http.client.HTTPException) as error:
        outcome, said = ("cut" if begun else "refused"), repr(error)
    finally:
        connection.close()
    return {"time": started, "seconds": round(time.time() - started, 3), "outcome": outcome, "said": said}


def main() -> None:
    """Ask until ended."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--every", type=float, default=1)
    parser.add_argument("--tokens", type=int, default=8)
    arguments = parser.parse_args()

    one_line_at_a_time = threading.Lock()

    def ask() -> None:
        result = json.dumps(once(arguments.url, arguments.model, arguments.tokens))
        with one_line_at_a_time:
            print(result, flush=True)

    while True:
        threading.Thread(target=ask, daemon=True).start()
        time.sleep(arguments.every)


if __name__ == "__main__":
    main()
