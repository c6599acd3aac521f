"""The one error a lab raises: a sentence for the person at the terminal."""

from __future__ import annotations

from collections.abc import Iterable


class LabError(Exception):
    """Says what was found, what was expected and what to do; names host or file."""

    @classmethod
    def of_many(cls, sentences: Iterable[str]) -> LabError:
        """One error that reports every sentence, each on a line of its own."""
        return cls("\n".join(sentences))
