"""What vLLM takes: its flags and their values, its environment, and the mods that change both."""
