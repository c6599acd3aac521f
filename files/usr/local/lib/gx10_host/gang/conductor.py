"""The head's judgement over the gang: one life at a time, begun whole, watched, and ended whole.

A *life* is GENERATION.NUMBER: the digest of everything that configures the gang, and a number that only grows, so that
two lives of one configuration differ. Phases:

    gathering   no rank anywhere is the goal; a life begins when every host says so of itself, and lacks nothing
    starting    parts were started on every host; ends in a completion, or is a failed attempt
    serving     completions come; evidence of death ends the life at once, silence of a host only if no token comes
    draining    the door is closed, running requests end
    ending      the engine ends first, then every rank
    stopped     somebody wants it so
    failed      the budget is spent: somebody has to look
    deposed     every other host obeys another head: this one orders nobody, until it is configured or asked anew

In one file because every phase reads and changes the same state: apart, none could be judged without the others.
"""

from __future__ import annotations

import time

DRAIN_STEP_SECONDS = 1
SETTLED_SECONDS = 3
"""How long nothing must run before a drain is over: what the API still reads or tokenizes is not counted yet."""
KILL_SECONDS = 1
"""What a rank of a life that has failed gets to end by itself: it has nothing left to save."""
EVIDENCE_SECONDS = 15
URGENT_SECONDS = 10
DAY = 86400


class Conductor:
    """Judges the hosts' reports; `step` is called about twice a second."""

    def __init__(self, config, links, liveness, door, store, *, clock=time.monotonic, wall=time.time, tell=print):
        self.config, self.links, self.liveness, self.door, self.store = config, links, liveness, door, store
        self.clock, self.wall, self._tell = clock, wall, tell
        self.head = config["host"]
        self.membership = {"head": config["head"], "hosts": config["hosts"]}
        self.past = store.past()
        self.now = store.present() or {"phase": "gathering", "life": "", "since": self.wall(), "began": clock()}
        self.now["leaving"] = False
        self.now.setdefault("waiting", [])
        self.told = None
        self.orders = {}
        self.quiet_told = set()
        self.settled_at = None
        self.refused_since = None
        if self.now["phase"] in ("draining", "ending"):
            self.now["phase"] = "ending"
        elif self.now["phase"] not in ("starting", "serving"):
            self._enter("failed" if self.past["failed"] else "stopped" if self.past["stopped"] else "gathering")
        self._give_orders()

    # Orders

    def _give_orders(self):
        """The order of every host follows from the phase alone."""
        phase, life = self.now["phase"], self.now["life"]
        for name in self.links:
            silenced = phase == "deposed" and name != self.head
            self.orders[name] = None if silenced else self._order(name, phase, life)
            self.links[name].order = self.orders[name]

    def _order(self, name, phase, life):
        common = {"cluster": self.config["cluster"], "head": self.head}
        if phase == "serving" and self.now.get("stable"):
            common["keep"] = life.rpartition(".")[0]
        if restore := self.now.get("restore"):
            common["restore"] = restore
        head = name == self.head
        if phase in ("starting", "serving", "draining") or (phase == "ending" and not head):
            # A worker's rank ends after the head's: the engine is the first to know that it is over.
            start = phase == "starting"
            return {
                **common, "key": f"{life} {'start' if start else 'run'}", "want": "run", "life": life, "start": start,
                "parts": ["ray", "engine"] if head else ["ray"], "fallback": self.past["fallback"],
            }  # fmt: skip
        planned = phase == "ending" and self.now.get("planned") and not self.now.get("engine_gone")
        if planned:
            return {**common, "key": f"{life} run", "want": "run", "life": life, "start": False, "parts": ["ray"]}
        return {
            **common, "key": f"{life} stop", "want": "stop", "fault": not self.now.get("planned", True),
            "kill_after": self.config["stop_timeout_seconds"] if self.now.get("planned") else KILL_SECONDS,
        }  # fmt: skip

    # What is known

    def _report(self, name):
        """A host's last report, if it was made under the order that holds now."""
        report, order = self.links[name].report, self.orders[name]
        return report if report and order and report["key"] == order["key"] else None

    def _silent(self, name):
        """For how long a host has not answered."""
        return self.clock() - self.links[name].heard

    def _quiet(self, seconds):
        """Hosts that have not answered for longer."""
        return [name for name in self.links if self._silent(name) > seconds]

    def _refusal(self, name):
        """Whom a host obeys instead of this head, as it last said; nothing where it did not say so lately."""
        link = self.links[name]
        if link.refusal is None or self.clock() - link.refused > self.config["silence_seconds"]:
            return ""
        return "{head} ({address}) of cluster {cluster}".format(**link.refusal)

    def _unheard(self, quiet, more):
        """That hosts do not answer, as (host, sentence); where no other is heard, the head's own cable is likelier."""
        others = [name for name in self.links if name != self.head]
        if len(others) > 1 and set(others) <= set(quiet):
            return self.head, f"no other host answers {self.head} (its own cable may be out) {more}"
        for name in quiet:
            if refusal := self._refusal(name):
                return name, f"{name} obeys {refusal}, not this head"
        return quiet[0], f"{', '.join(quiet)} {'do' if len(quiet) > 1 else 'does'} not answer {more}"

    def _loss(self):
        """Evidence that the life is over, as (host, sentence); nothing while there is none."""
        life = self.now["life"]
        for name, link in self.links.items():
            report = link.report
            if not report or self._silent(name) > self.config["silence_seconds"]:
                continue
            if self.now["boots"].get(name, report["boot"]) != report["boot"]:
                return name, f"{name} was started anew"
            if report["started"]["life"] == life:
                for part, state in report["parts"].items():
                    if state["state"] == "dead":
                        return name, f"{part} on {name} ended ({_how(state)})"
            elif self.now["phase"] != "starting" and report["key"] in (f"{life} run", "lease over"):
                return name, f"{name} has no rank of this life"
            if report["key"] == "lease over":
                return name, f"{name} heard nothing from the head and ended its rank"
        return None

    def _wedge(self):
        """That the engine hangs, as (host, sentence), with the host that may be why; nothing while it does not."""
        wedged = self.liveness.wedged
        if wedged and (quiet := self._quiet(self.config["silence_seconds"])):
            return self._unheard(quiet, f"while {wedged}")
        return ("", wedged) if wedged else None

    # Steps

    def step(self):
        """Judge once."""
        self._wish()
        self._mind_refusals()
        getattr(self, f"_{self.now['phase']}")()
        self._give_orders()
        try:
            self.store.note(self.picture())
        except OSError as error:
            self.tell(f"the state cannot be written: {error}")

    def picture(self):
        """Everything that status, metrics and a supervisor that is started anew want to know."""
        return {
            **self.now,
            "fallback": self.past["fallback"],
            "fallback_name": self._fallback_name(),
            "failures": len(self.past["failures"]),
            "attempts": self.config["budget"]["attempts"],
            "number": self.past["number"],
            "rolled_back": self.past.get("rolled_back"),
            "restarts": self.past["restarts"],
            "in_flight": self.liveness.in_flight,
            "misses": self.liveness.misses,
            "handled": self.past["handled"],
            "started_in": self.past["started_in"],
            "foreign": self._foreign(),
            "hosts": {
                name: {"silent_seconds": round(self._silent(name), 1), **_short(link.report)}
                for name, link in self.links.items()
            },
        }

    def _foreign(self):
        """Who else gave orders to hosts of this gang: whatever they refused, by sender."""
        senders = {}
        for name, link in self.links.items():
            heard = self.wall() - self._silent(name)
            for told in (link.report or {}).get("foreign", []):
                first, last = heard - told["first_seconds"], heard - told["last_seconds"]
                sender = senders.setdefault(
                    (told["head"], told["address"]),
                    {"head": told["head"], "address": told["address"], "cluster": told["cluster"], "orders": 0,
                     "since": first, "last": last, "hosts": []},
                )  # fmt: skip
                sender["orders"] += told["orders"]
                sender["hosts"].append(name)
                sender.update(since=min(sender["since"], first), last=max(sender["last"], last))
        return list(senders.values())

    def _fallback_name(self):
        number = self.past["fallback"]
        return self.config["fallbacks"][number - 1]["name"] if number else ""

    def _wish(self):
        """What an operator or a deploy asked for since."""
        wish = self.store.wish()
        if not wish or wish["id"] == self.past["handled"]:
            return
        self.past["handled"] = wish["id"]
        phase = self.now["phase"]
        full = bool(wish.get("full")) and self.past["fallback"] > 0
        if wish.get("full"):
            self.past["fallback"] = 0
        self.past["stopped"] = wish["want"] == "stop"
        if wish["want"] != "stop":
            self.past.update(failures=[], ends=[], failed=False, rolled_back=None)
            self._forget_attempts()
            self.now["not_before"] = 0
        self.store.remember(self.past)
        seconds = wish.get("drain_seconds")
        self.now["drain_seconds"] = self.config["drain_timeout_seconds"] if seconds is None else seconds
        if phase == "serving" and (wish["want"] in ("stop", "restart") or full):
            self._drain(wish.get("reason") or f"`{wish['want']}` was asked for")
        elif phase == "starting" and (wish["want"] in ("stop", "restart") or full):
            self._end(f"`{wish['want']}` was asked for", planned=True)
        elif phase in ("gathering", "failed") and wish["want"] == "stop":
            self._enter("stopped")
        elif phase in ("stopped", "failed", "deposed") and wish["want"] != "stop":
            for link in self.links.values():
                link.refusal = None
            self._enter("gathering", "")

    def _forget_attempts(self):
        """A new budget begins: what ended the attempts before it is over."""
        for key in ("failed_for", "conclusion", "not_put_back"):
            self.now.pop(key, None)

    def _mind_refusals(self):
        """Stand down when every other host has obeyed another head for a while.

        A deploy that moves the head reaches the hosts within seconds of each other, so that those which it has not
        reached yet refuse the new head for a moment.
        """
        others = [name for name in self.links if name != self.head]
        if self.now["phase"] == "deposed" or not others or not all(self._refusal(name) for name in others):
            self.refused_since = None
        elif self.refused_since is None:
            self.refused_since = self.clock()
        elif self.clock() - self.refused_since > self.config["silence_seconds"]:
            self._stand_down(sorted({self._refusal(name) for name in others}))

    def _stand_down(self, heads):
        """End the own rank and order nobody; no attempt is spent, as none could come to anything."""
        for key in ("incident", "restore", "engine_gone"):
            self.now.pop(key, None)
        self.now["planned"] = True
        self._move_door(2)
        self._enter("deposed", f"every other host obeys {', '.join(heads)}")

    def leave(self):
        """The supervisor itself is to stop, as at a shutdown: serve no more; true when every rank is gone."""
        self.now["leaving"] = True
        if self.now["phase"] == "serving":
            self._drain("the head is to stop")
        elif self.now["phase"] == "starting":
            self._end("the head is to stop", planned=True)
        if self.now["phase"] not in ("gathering", "stopped", "failed", "deposed"):
            return False
        # A host that does not hear of it ends its rank when its lease is over.
        late = self.clock() - self.now["began"] > self.config["lease_seconds"]
        reports = {name: self._report(name) for name in self.links}
        if self.now["phase"] == "deposed":
            return late or bool(reports[self.head] and reports[self.head]["idle"])
        return late or self.now["phase"] != "gathering" or all(report and report["idle"] for report in reports.values())

    def _stopped(self):
        pass

    def _failed(self):
        pass

    def _deposed(self):
        pass

    def _gathering(self):
        self._close_incident()
        if self.now["leaving"] or self.now["phase"] != "gathering":
            return
        waiting = []
        described = {}
        for name in self.links:
            report = self._report(name)
            if refusal := self._refusal(name):
                waiting.append(f"{name} obeys {refusal}, not this head")
            elif self._silent(name) > self.config["silence_seconds"] or self.links[name].report is None:
                waiting.append(f"{name} does not answer over the fabric")
            elif report is None or not report["idle"]:
                lives = ", ".join((report or self.links[name].report)["lives"])
                waiting.append(f"{name} still ends {lives or 'its units'}")
            else:
                waiting += [f"{name}: {need}" for need in report["needs"]]
                if report["leaving"]:
                    waiting.append(f"{name} is to stop")
                described[name] = report["described"]
        if not waiting and len(set(described.values())) > 1:
            waiting.append(f"hosts describe different generations: {described}; a deploy has not ended")
        if not waiting and None in described.values():
            waiting.append("nothing has been deployed yet")
        self.now["waiting"] = waiting
        if waiting or self.now.get("incident"):
            return
        if self.now.get("restore") and set(described.values()) != {self.now["restore"]}:
            return
        self.now.pop("restore", None)
        if self.clock() < self.now.get("not_before", 0):
            return
        self._begin(described[self.head])

    def _begin(self, generation):
        try:
            self.store.remember({**self.past, "number": self.past["number"] + 1})
        except OSError as error:  # Without it the next life could bear the name of this one.
            self.now["waiting"] = [f"{self.head}: the state cannot be written: {error}"]
            return
        self.past["number"] += 1
        self.now.update(
            life=f"{generation}.{self.past['number']}",
            boots={name: link.report["boot"] for name, link in self.links.items()},
            begun=self.clock(), deadline=self.clock() + self.config["start_timeout_seconds"] + 60,
            planned=False, engine_gone=False, stable=False, served=0,
        )  # fmt: skip
        self.liveness.begin()
        self._move_door(2)
        self._enter("starting", "")

    def _starting(self):
        # Who has just fallen silent is named too, though only a lease that is over ends a start.
        quiet = self._quiet(min(self.config["silence_seconds"], self.config["lease_seconds"]))
        if loss := self._loss():
            self._end(loss[1], host=loss[0])
        elif any(self._silent(name) > self.config["lease_seconds"] for name in quiet):
            host, reason = self._unheard(quiet, "over the fabric")
            self._end(reason, host=host, counts=False)
        elif any(link.report and link.report["leaving"] for link in self.links.values()):
            self._end("a host is to stop", planned=True)
        elif self.clock() > self.now["deadline"]:
            self._end(f"no completion within {self.config['start_timeout_seconds']} s")
        elif self._answers():
            self.liveness.begin()
            self.now["served"] = self.clock()
            self.past["started_in"] = round(self.clock() - self.now.get("begun", self.clock()))
            self._enter("serving", "")
            self._move_door(0)

    def _answers(self):
        """Whether the engine of this life has answered a completion: its unit is active."""
        report = self.links[self.head].report
        ours = report is not None and report["started"]["life"] == self.now["life"]
        return ours and report["parts"]["engine"]["state"] == "active"

    def _serving(self):
        now = self.clock()
        if lost := self._loss() or self._wedge():
            return self._end(lost[1], host=lost[0])
        quiet = self._quiet(self.config["silence_seconds"])
        for name, link in self.links.items():
            silent = self._silent(name)
            if silent <= self.config["silence_seconds"]:
                self.quiet_told.discard(name)
            elif not self.liveness.alive_since(now - self.config["silence_seconds"]):
                self.liveness.urge(URGENT_SECONDS)
                patience = URGENT_SECONDS + 2
                if silent > self.config["silence_seconds"] + patience and not self.liveness.alive_since(now - patience):
                    host, reason = self._unheard(quiet, f"for {silent:.0f} s, and no token comes")
                    return self._end(reason, host=host)
            elif name not in self.quiet_told:
                self.quiet_told.add(name)
                self.tell(f"{name} does not answer, but tokens come from all ranks: its supervisor is to be looked at")
            if link.report and link.report["leaving"]:
                return self._drain(f"{name} is to stop")
        if not self.now["stable"] and now - self.now["served"] > self.config["budget"]["stable_seconds"]:
            self.now["stable"] = True
            self.past["failures"] = []
            self.past["good"] = self.now["life"].rpartition(".")[0]
            self._forget_attempts()
            self.store.remember(self.past)
        return None

    def _drain(self, reason):
        self.now["drain_until"] = self.clock() + self.now.get("drain_seconds", self.config["drain_timeout_seconds"])
        self.now["closed"] = self.clock()
        self.settled_at = None
        self._enter("draining", reason)
        self._move_door(1)

    def _draining(self):
        now = self.clock()
        if lost := self._loss() or self._wedge():
            return self._end(lost[1], host=lost[0])
        if now - self.now["closed"] >= DRAIN_STEP_SECONDS:
            self._move_door(2)
        if self.liveness.answered_at <= self.now["closed"] + DRAIN_STEP_SECONDS or self.liveness.in_flight:
            self.settled_at = None
        elif self.settled_at is None:
            self.settled_at = now
        settled = self.settled_at is not None and now - self.settled_at >= SETTLED_SECONDS
        if settled or now > self.now["drain_until"]:
            cut = 0 if settled else int(self.liveness.in_flight or 0)
            self.tell(f"drained in {now - self.now['closed']:.0f} s, {cut} requests cut off")
            self.now["cut"] = cut
            return self._end(self.now["reason"], planned=True)
        return None

    def _ending(self):
        """First the head: the engine, which is rank 0's driver, then its Ray; the workers follow in `gathering`."""
        report = self._report(self.head)
        if not report:
            return
        if self.now.get("planned") and not self.now.get("engine_gone"):
            if report["parts"]["engine"]["state"] in ("dead", "down"):
                self.now["engine_gone"] = True
            return
        if report["idle"]:
            # A gang that is to stop is written down first; the workers' ranks end in either phase.
            self._enter("stopped" if self.past["stopped"] else "gathering", self.now["reason"])

    def _end(self, reason, host="", planned=False, counts=True):
        """End the life; an unplanned end is an incident, and an attempt if it was one."""
        started = self.now["phase"] == "starting"
        self.now.update(planned=planned, engine_gone=False)
        self._move_door(2)
        if planned:
            self._enter("ending", reason)
            return
        wall = self.wall()
        self.past["restarts"] += 1
        self.past["ends"] = [end for end in self.past["ends"] if wall - DAY < end <= wall] + [wall]
        self.store.remember(self.past)
        self.now["incident"] = {
            "life": self.now["life"], "time": wall, "reason": reason, "host": host, "phase": self.now["phase"],
            "starting": started, "counts": counts, "until": self.clock() + EVIDENCE_SECONDS,
        }  # fmt: skip
        self._enter("ending", reason)

    def _attempt(self, incident):
        """Whether a life that ended was a failed attempt of its generation, and not only a host that went away."""
        if not incident["counts"] or self.now.get("stable"):
            return False
        boots = self.now["boots"]
        return all(
            self._silent(name) <= self.config["silence_seconds"] and link.report["boot"] == boots.get(name)
            for name, link in self.links.items()
        )

    def _spend(self):
        """Hold the budget: so many attempts in a row without lasting service, so many ends in a day."""
        budget = self.config["budget"]
        attempts, ends = len(self.past["failures"]), len(self.past["ends"])
        if attempts < budget["attempts"] and ends < budget["daily"]:
            return
        self.past["failed"] = True
        spent = f"{attempts} attempts" if attempts >= budget["attempts"] else f"{ends} restarts within a day"
        self.now["spent"] = f"{spent}; the last: {self.now['reason']}"
        if kept_back := self.now.get("not_put_back"):
            self.now["spent"] += f"; {kept_back}"
        self.tell(f"the budget is spent: {self.now['spent']}. `gx10 start` resumes.")
        self.store.alert("failed", self.now["spent"])
        self._enter("failed")

    def _close_incident(self):
        """Write down what the hosts say of the life that ended, and draw the conclusions."""
        incident = self.now.get("incident")
        if not incident:
            return
        told = {}
        for name, link in self.links.items():
            evidence = (link.report or {}).get("evidence")
            if evidence and evidence["life"] == incident["life"]:
                told[name] = {**evidence, "parts": link.report["started"], "clock_offset": link.offset}
        if len(told) < len(self.links) and self.clock() < incident["until"]:
            return
        self.now["incident"] = None
        out_of_memory = [line for evidence in told.values() for line in evidence["out_of_memory"]]
        record = {**incident, "evidence": told, "out_of_memory": bool(out_of_memory), "first": _first(told)}
        record["silent"] = [name for name in self.links if name not in told]
        attempt = self._attempt(incident)
        if attempt:
            self.past["failures"] = [*self.past["failures"], incident["time"]]
            self.now["failed_for"] = incident["reason"]
            self.now["not_before"] = self.clock() + min(60, 5 * 2 ** (len(self.past["failures"]) - 1))
        failed_start = attempt and incident["starting"]
        if failed_start and out_of_memory and self.past["fallback"] < len(self.config["fallbacks"]):
            self.past["fallback"] += 1
            record["conclusion"] = f"out of memory: the next start goes on with fallback `{self._fallback_name()}`"
            self.past["failures"] = self.past["failures"][:-1]
            self.tell(record["conclusion"])
        elif failed_start:
            self._roll_back(incident, record)
        if record.get("conclusion"):
            self.now["conclusion"] = record["conclusion"]
        self._spend()
        self.store.remember(self.past)
        self.store.incident({**record, "attempt": attempt, "failed": self.past["failed"]})

    def _roll_back(self, incident, record):
        """Put the generation back that served last, once, when its successor does not start."""
        generation = incident["life"].rpartition(".")[0]
        good = self.past.get("good")
        if not good or good == generation or self.past.get("rolled_back"):
            return None
        if len(self.past["failures"]) < self.config["budget"]["rollback_after"]:
            return None
        reports = [link.report or {} for link in self.links.values()]
        if any(report.get("kept") != good for report in reports):
            return self._keep_back(record, f"generation {good} is not kept on every host, so it cannot be put back")
        if others := [report.get("kept_for") for report in reports if report.get("kept_for") != self.membership]:
            changes = _changes(others[0], self.membership)
            return self._keep_back(record, f"generation {good} is not put back, as it cannot serve here: {changes}")
        self.past["rolled_back"] = {"from": generation, "to": good, "time": self.wall(), "reason": incident["reason"]}
        self.past.update(failures=[], failed=False, fallback=0)
        self.now["restore"] = good
        record["conclusion"] = f"generation {generation} did not start: {good} is put back"
        self.tell(record["conclusion"])
        self.store.alert("rolled-back", record["conclusion"])
        return None

    def _keep_back(self, record, sentence):
        record["conclusion"] = self.now["not_put_back"] = sentence

    def _move_door(self, step):
        if problem := self.door.move(step):
            self.tell(problem)

    def _enter(self, phase, reason=None):
        self.now.update(phase=phase, since=self.wall(), began=self.clock(), waiting=[])
        if reason is not None:
            self.now["reason"] = reason
        told = f" ({self.now['reason']})" if self.now.get("reason") else ""
        self.tell(f"{phase} {self.now['life']}{told}")

    def tell(self, text):
        """One line for the journal, not twice in a row."""
        if text != self.told:
            self._tell(f"gang: {text}")
            self.told = text


def _first(told):
    """The part that ended first, by the head's clock; nothing where all of them had to be ended."""
    ended = [
        (round(state["when"] - evidence["clock_offset"], 2), name, part, _how(state))
        for name, evidence in told.items()
        for part, state in evidence["ended"].items()
    ]
    return dict(zip(("time", "host", "part", "how"), min(ended), strict=True)) if ended else None


def _how(state):
    if state.get("ExecMainCode") in ("2", "3"):
        return f"signal {state['ExecMainStatus']}"
    return f"status {state.get('ExecMainStatus') or '0'}, {state.get('Result') or 'unknown'}"


def _changes(was, now):
    """How one membership became another, in words."""
    if not was:
        return "which hosts it served on was not written down"
    hosts, others = now["hosts"], was["hosts"]
    changes = [f"its head was {was['head']}, now it is {now['head']}"] if was["head"] != now["head"] else []
    changes += [f"{name} belonged to it and is no member now" for name in sorted(others.keys() - hosts.keys())]
    changes += [f"{name} is a member now" for name in sorted(hosts.keys() - others.keys())]
    changes += [
        f"{name} was at {others[name]}, now it is at {hosts[name]}"
        for name in sorted(hosts.keys() & others.keys())
        if hosts[name] != others[name]
    ]
    return "; ".join(changes)


def _short(report):
    if not report:
        return {}
    keys = ("described", "kept", "lives", "idle", "parts", "memory_gib", "needs", "leaving")
    return {key: report[key] for key in keys}
