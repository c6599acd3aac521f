"""What an engine takes, and whether a command of it can run on the described hosts. No pyinfra, no host."""
