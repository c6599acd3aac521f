"""Faults against the gang on the lab, with a watcher and a client outside of the hosts."""
