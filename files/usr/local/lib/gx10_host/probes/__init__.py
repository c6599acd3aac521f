"""Questions about a host: each prints one line of JSON."""
