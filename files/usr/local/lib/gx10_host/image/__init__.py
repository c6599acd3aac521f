"""Images: kept as archives of their layers, moved, loaded and removed."""
