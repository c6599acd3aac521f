"""The model root: what lies there, and what of it may go."""
