"""CRC-32C (Castagnoli), the checksum that guards TFRecords, as a compiled loop over 16 bytes at a time."""

from functools import cache
from typing import no_type_check

import numpy as np
from jaxtyping import UInt32

from kiti.collision.cpu.jit import compiled

_POLYNOMIAL = 0x82F63B78  # reflected: bit 31 is the coefficient of x^0
_STRIDE = 16


def crc32c(data: bytes | memoryview) -> int:
    """CRC-32C of `data`, in 0 … 2³² - 1; of b"123456789" it is 0xE3069283. The first call of all compiles."""
    return int(_update(np.frombuffer(data, np.uint8), _tables()))


@cache
def _tables() -> UInt32[np.ndarray, "16 256"]:
    """Row k, column b: the checksum register after a byte b and k zero bytes, from a register of zero.

    The register is linear in the bytes read, so that of 16 bytes is the xor of 16 entries, each looked up by itself.
    """
    register: np.ndarray = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        register = (register >> 1) ^ (register & 1) * np.uint32(_POLYNOMIAL)
    rows = [register]
    while len(rows) < _STRIDE:
        rows.append(rows[0][rows[-1] & 0xFF] ^ (rows[-1] >> 8))
    return np.stack(rows)


@no_type_check
@compiled()
def _update(data, tables):
    whole = len(data) - len(data) % _STRIDE
    register = 0xFFFFFFFF
    for begin in range(0, whole, _STRIDE):
        before = register
        register = 0
        for k in range(4):  # the register is added to the first four bytes
            register ^= tables[_STRIDE - 1 - k, ((before >> 8 * k) & 0xFF) ^ data[begin + k]]
        for k in range(4, _STRIDE):
            register ^= tables[_STRIDE - 1 - k, data[begin + k]]
    for i in range(whole, len(data)):
        register = tables[0, (register & 0xFF) ^ data[i]] ^ (register >> 8)
    return register ^ 0xFFFFFFFF
