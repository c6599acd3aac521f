"""Measurements: each prints its figures beside the machine's own, from one run."""
