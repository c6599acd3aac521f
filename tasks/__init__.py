"""The phases of the deploy, one module each."""
