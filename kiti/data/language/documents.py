"""Documents: what a corpus consists of, and which split each is in."""

import hashlib


def split_of(text: str) -> str:
    """ "train", "validation" or "test", by the text alone, so that equal texts are on one side.

    The first 8 bytes of the sha256 of its UTF-8 are an integer, big-endian; modulo 100, 0 and 1 are validation, 2 and 3
    test.
    """
    place = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % 100
    return "validation" if place < 2 else "test" if place < 4 else "train"
