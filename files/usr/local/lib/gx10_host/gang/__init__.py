"""The gang: its supervisors, the gates before its parts, and what they say."""

UNIT = "gx10-gang.service"
"""Runs a host's supervisor."""
