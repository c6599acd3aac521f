"""Large content: described by manifests, moved file by file, proven by hash."""
