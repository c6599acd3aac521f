"""Supervises this host's part in the gang, and on the head the gang itself.

    gx10-host gang --config FILE

The head orders every host once a second, over the fabric; an order is a lease (see agent.py). What is judged from
the answers is in conductor.py. SIGHUP takes up a new configuration or program without touching the gang; SIGTERM
drains and ends it, as at a shutdown.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import pathlib
import signal
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from .agent import Agent
from .conductor import Conductor
from .door import Door
from .liveness import Api, Liveness
from .orders import LONGEST_ANSWER, LONGEST_ORDER, read_order, read_sworn
from .store import Store, forget

IP_FREEBIND = 15
ORDER_SECONDS = 3
STEP_SECONDS = 90
"""A host's own step takes longer than this only when it hangs; then systemd ends and starts this program."""


class Server(ThreadingHTTPServer):
    """Takes orders on the fabric address, which need not be there yet."""

    daemon_threads = True

    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
        super().server_bind()


def handler(agent):
    """What answers an order of the head with the last report, and another's with whom this host obeys."""

    class Order(BaseHTTPRequestHandler):
        timeout = 5

        def do_POST(self):
            try:
                length = int(self.headers.get("Content-Length", ""))
                if not 0 <= length <= LONGEST_ORDER:
                    raise ValueError("too long")
                order = read_order(self.rfile.read(length))
            except ValueError as error:
                status, answer = 400, {"error": f"this is no order: {error}"}
            else:
                status, answer = agent.answer(order, self.client_address[0])
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    return Order


class Link:
    """A host as the head knows it: the order it is to get, its last report and when that came."""

    def __init__(self, address, port, source):
        self.address, self.port, self.source = address, port, source
        self.order = None
        self.report = None
        self.heard = time.monotonic()
        self.offset = 0.0
        self.refusal, self.refused = None, 0.0
        """Whom the host says it obeys instead, and when it last said so."""

    def ask(self):
        """Order once, from the head's own fabric address: the host obeys no other."""
        if self.order is None:
            return
        connection = http.client.HTTPConnection(
            self.address, self.port, timeout=ORDER_SECONDS, source_address=(self.source, 0)
        )
        try:
            connection.request("POST", "/", json.dumps(self.order))
            response = connection.getresponse()
            answer = json.loads(response.read(LONGEST_ANSWER))
            if response.status == 403:
                self.refusal, self.refused = read_sworn(answer), time.monotonic()
            elif response.status == 200:
                # A supervisor that answers but does not get its work done is as good as silent.
                heard, offset = time.monotonic() - answer["age"], round(answer["time"] - time.time(), 1)
                self.report, self.heard, self.offset, self.refusal = answer, heard, offset, None
        except (OSError, ValueError, LookupError, TypeError, http.client.HTTPException):
            return
        finally:
            connection.close()


class Own(Link):
    """The head's own part, which needs no network."""

    def __init__(self, agent):
        super().__init__("", 0, "")
        self.agent = agent

    def ask(self):
        """Order once."""
        if self.order is not None:
            self.report = self.agent.obey(self.order)
            self.heard = time.monotonic() - self.report["age"]


def repeat(work, seconds):
    """Do something for ever, in a thread."""

    def run():
        while True:
            try:
                work()
            except Exception as error:  # noqa: BLE001 - a supervisor that stops because of one surprise supervises nothing.
                print(f"gang: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            time.sleep(seconds)

    threading.Thread(target=run, daemon=True).start()


def notify(text):
    """Tell systemd."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as there:
        try:
            there.connect("\0" + path[1:] if path.startswith("@") else path)
            there.sendall(text.encode())
        except OSError:
            pass


def mark(config):
    """Write down which configuration and programs run, where the deploy looks."""
    path = pathlib.Path("/run/gx10/gx10-gang.service")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(config["digest"])


def left(agent, conductor):
    """Whether everything that a leaving supervisor answers for has ended."""
    if conductor is not None:
        return conductor.leave()
    return agent.report["idle"]


def main(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=pathlib.Path, required=True)
    arguments = parser.parse_args(argv)
    config = json.loads(arguments.config.read_text())
    agent = Agent(config)
    conductor = None
    server = Server((config["hosts"][config["host"]], config["port"]), handler(agent))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    if config["host"] == config["head"]:
        links = {
            name: Own(agent) if name == config["host"] else Link(address, config["port"], config["address"])
            for name, address in config["hosts"].items()
        }
        liveness = Liveness(Api(config["api_port"], config["model"]), config["liveness"])
        store = Store(config)
        conductor = Conductor(
            config, links, liveness, Door(config["api_port"]), store, tell=lambda text: print(text, flush=True)
        )
        for link in links.values():
            repeat(link.ask, 0.25 if isinstance(link, Own) else 1)
        repeat(lambda: liveness.look() if conductor.now["phase"] in ("serving", "draining") else None, 1)
    else:
        forget()
        if problem := Door(config["api_port"]).move(0):
            print(f"gang: {problem}", flush=True)
    mark(config)
    leaving = []
    signal.signal(signal.SIGTERM, lambda *_: leaving.append("term"))
    again = []
    signal.signal(signal.SIGHUP, lambda *_: again.append("hup"))
    repeat(agent.step, 0.8)
    notify("READY=1")
    until = None
    while True:
        if again:
            with agent.stepping:  # Never between noting a start and starting.
                os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606
        if leaving and until is None:
            agent.leaving = True
            until = time.monotonic() + config["drain_timeout_seconds"] + config["stop_timeout_seconds"] + 30
            notify("STOPPING=1")
        if conductor is not None:
            conductor.step()
            now = conductor.now
            why = "; ".join(now["waiting"]) or (now["reason"] if now["phase"] == "deposed" else "")
            notify(f"STATUS={now['phase']} {now['life']} {why[:200]}")
        else:
            notify(f"STATUS={agent.standing()}")
        if time.monotonic() - agent.stepped < STEP_SECONDS:
            notify("WATCHDOG=1")
        if until is not None and (left(agent, conductor) or time.monotonic() > until):
            return
        time.sleep(0.5)
