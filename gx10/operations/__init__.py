"""What changes a host: each operation compares first, and yields nothing when nothing differs."""
