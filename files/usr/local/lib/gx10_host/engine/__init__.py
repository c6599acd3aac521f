"""The engine's API, asked on its own host."""
