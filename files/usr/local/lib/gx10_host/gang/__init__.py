"""The gang: its supervisors, the gates before its parts, and what they say."""
