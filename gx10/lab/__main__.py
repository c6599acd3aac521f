"""`python -m gx10.lab`."""

from .commands import lab

lab()
