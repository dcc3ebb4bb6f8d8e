"""Data sets: computed, read or downloaded, then verified, split, and served in batches.

May import `pde` and `collision`.
"""


class DataError(ValueError):
    """Data is not available; the message is one line: what is wrong, where, and how to fix it."""
