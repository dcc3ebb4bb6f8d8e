"""Data sets: computed, read or fetched, verified, split, and handed out in batches.

May import `pde` and `collision`.
"""


class DataError(ValueError):
    """Data that cannot be had; one line: what, where, what would do."""
