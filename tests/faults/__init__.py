"""Faults provoked on the lab's hosts, each followed by the proof that nothing wrong stands and all is repaired."""
