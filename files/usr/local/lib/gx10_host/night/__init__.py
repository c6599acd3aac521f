"""What the nightly run needs on its host."""
