"""A stream of requests from outside of the hosts, with what became of each."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from gx10.described.description import describe
from gx10.lab.lab import Lab


class Load:
    """Requests at a steady pace while it is open."""

    def __init__(self, lab: Lab, every: float, tokens: int) -> None:
        description = describe("lab")
        url = f"http://{description.cluster.hosts[description.cluster.head].management}:{description.port}"
        client = str(Path(__file__).with_name("client.py"))
        words = [sys.executable, client, "--url", url, "--model", description.served_name]
        words += ["--every", str(every), "--tokens", str(tokens)]
        self._words = ["ip", "netns", "exec", lab.names.lab, *words]
        self.results: list[dict[str, Any]] = []

    def __enter__(self) -> Load:
        self._process = subprocess.Popen(self._words, stdout=subprocess.PIPE, text=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self._process.stdout
        with self._process.stdout as lines:
            for line in lines:
                if line.endswith("\n"):  # The last one may have been cut off.
                    self.results.append(json.loads(line))

    def since(self, moment: float) -> list[dict[str, Any]]:
        """Results of requests that were begun since a moment."""
        return [result for result in self.results if result["time"] >= moment]

    def outcomes(self, since: float = 0) -> Counter[str]:
        """How many ended how."""
        return Counter(result["outcome"] for result in self.since(since))

    def answered(self, count: int, seconds: float) -> bool:
        """Wait for so many answers from now."""
        started = time.time()
        while self.outcomes(started)["ok"] < count:
            if time.time() - started > seconds:
                return False
            time.sleep(0.2)
        return True
