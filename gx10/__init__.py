"""Serve one large model from four GX10 hosts, described in one file and kept that way."""
