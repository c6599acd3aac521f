"""From the cluster file to a host: who logs in, how, and who holds the cluster's lock."""
