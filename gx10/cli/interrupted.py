"""What each command says when it is interrupted: what goes on without it, and what to type next."""

from __future__ import annotations

NOTHING = "Nothing was changed."
REMOVED = "What was removed is gone, and a host that had begun goes on."
HOW_FAR = "`gx10 status` shows how far it is"
NO_VERDICT = f"{NOTHING} There is no verdict: type it again."

SENTENCES = {
    "chat": "Nothing was changed; the engine may go on with its answer for a moment.",
    "completion": NOTHING,
    "diff": NOTHING,
    "history": NOTHING,
    "images build": "What the deploy said above holds; `gx10 images build` continues it.",
    "images gc": f"{REMOVED} `gx10 images gc --dry` shows what is left.",
    "images list": NOTHING,
    "images lock": "The lock file is whole, old or new: look at `git diff images`, or type it again.",
    "images restore": "What the deploy said above holds; `gx10 images restore` continues it.",
    "images verify": NO_VERDICT,
    "lab down": "Hosts that were not removed yet are still there: `gx10 lab down` continues.",
    "lab power-on": "Hosts that boot go on: `gx10 lab status` shows them.",
    "lab status": NOTHING,
    "lab up": "Hosts that boot go on: `gx10 lab status` shows them, `gx10 lab up` continues, `gx10 lab down` ends.",
    "logs": NOTHING,
    "models clean": f"{REMOVED} `gx10 models plan` shows what is left.",
    "models fetch": "What the deploy said above holds; `gx10 models fetch` continues it.",
    "models list": NOTHING,
    "models plan": NOTHING,
    "models verify": NO_VERDICT,
    "restart": "The head's supervisor goes on: it lets running requests end, then restarts the gang."
    f" {HOW_FAR}, `gx10 stop` ends it.",
    "resume": "The suspension may have ended or not: `gx10 plan` shows it, `gx10 resume` ends it.",
    "start": f"The head's supervisor goes on starting the gang. {HOW_FAR}, `gx10 stop` ends it.",
    "status": NOTHING,
    "stop": "The head's supervisor goes on: it lets running requests end, then stops the gang."
    f" {HOW_FAR}, `gx10 start` starts it again.",
    "suspend": "Runs may be suspended or not: `gx10 plan` shows it; type it again, or `gx10 resume`.",
    "unlock": "The lock may be broken or not: `gx10 plan` names its holder.",
    "verify": NO_VERDICT,
    "why": NOTHING,
}
"""By command, without `gx10` in front. `plan`, `reconcile` and `serve` say it themselves."""


def sentence(command: str) -> str:
    """What goes on and what to type next, where a command was interrupted."""
    return SENTENCES.get(
        command, f"`gx10 status` shows how the cluster stands; `gx10 {command}`".rstrip() + " may be typed again."
    )
