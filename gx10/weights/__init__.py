"""Weights on the hosts: who holds them, what fits, what may go, and which are served. No pyinfra, no host."""
