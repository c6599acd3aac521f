"""Packet filters of a host, and how they judge the first packets of what must pass."""
