"""Writers: what changes a host's files, and the removal of all of it."""
