"""Pairs drawn at random, by the docstring of `kiti/collision/random_pairs.py`, in plain integers."""

WORD = 0xFFFFFFFF


def mix(x):
    x &= WORD
    x = (x ^ (x >> 16)) * 0x7FEB352D & WORD
    x = (x ^ (x >> 15)) * 0x846CA68B & WORD
    return x ^ (x >> 16)


def key(seed, system, r):
    state = mix(mix(mix((seed & WORD) ^ 0x51ED270B) ^ (seed >> 32)) + system)
    return mix(state + 0x9E3779B9 * r)


def plain_pairs(seed, system, n, count):
    """The pairs of numbers 0 … count-1, i < j."""
    wide, high = (n, (n - 1) // 2) if n % 2 else (n - 1, n // 2)
    found = []
    for number in range(count):
        a, b = divmod(number, high)
        for r in range(0, 24 if n < 16 else 8, 2):
            a = (a + (wide * mix(b + key(seed, system, r)) >> 32)) % wide
            b = (b + (high * mix(a + key(seed, system, r + 1)) >> 32)) % high
        other = n - 1 if n % 2 == 0 and b == 0 else (a + b + n % 2) % wide
        found.append((min(a, other), max(a, other)))
    return found


def plain_couples(seed, system, n):
    order = sorted(range(n), key=lambda i: (mix(i + key(seed, system, 0)), i))
    return [(min(i, j), max(i, j)) for i, j in zip(order[::2], order[1::2], strict=False)]
