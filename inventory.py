"""The hosts of the cluster that GX10_CLUSTER names; refused before any connection if described wrongly."""

from gx10.operations.loop.inventory import groups

head, workers = groups()
