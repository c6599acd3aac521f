"""`python -m gx10.lab`."""

from gx10.lab.commands import lab

lab()
