"""Drift, found every night and put back where that is safe: the domain in plain Python, and what surrounds pyinfra."""
