"""TFRecord files and the `tf.train.Example` messages in them, read without tensorflow and without protobuf.

A file is a sequence of records: the length of the data (8 bytes), a checksum of these 8 bytes (4), the data, a checksum
of the data (4). All numbers are little-endian; checksums are "masked" CRC-32C. An Example maps names to lists of bytes,
float32 or int64.
"""

import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import BinaryIO

import numpy as np
from crc32c import crc32c
from jaxtyping import Float32, Int64

from kiti.data import DataError

Values = list[memoryview] | Float32[np.ndarray, " values"] | Int64[np.ndarray, " values"]

_HEADER_BYTES = 12
_FOOTER_BYTES = 4
# Protobuf's wire types, which say what follows a field's number: at most 64 bits in pieces of 7; 8 bytes; a length and
# that many bytes; 4 bytes. Groups (3, 4) are obsolete; no Example has them.
_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5
_BYTES, _FLOATS, _INTS = 1, 2, 3


class TFRecordError(DataError):
    """A file is damaged or has the wrong content, in one line; `offset` is the byte where the record begins."""

    def __init__(self, reason: str, offset: int) -> None:
        super().__init__(reason)
        self.offset = offset


@dataclass(frozen=True)
class Place:
    """Where a record is: the `number`-th of its file, counted from 0, starting at byte `offset`."""

    path: Path
    number: int
    offset: int

    def error(self, reason: str) -> TFRecordError:
        return TFRecordError(f"{self.path}: record {self.number} at byte {self.offset}: {reason}", self.offset)


@dataclass(frozen=True)
class Record:
    """The data of one record, verified."""

    place: Place
    data: bytes


def records(path: Path | str) -> Iterator[Record]:
    """The records of a file, in order. At most one is in memory here, and none after it is yielded.

    Raises TFRecordError at a record that is truncated or has a wrong checksum, FileNotFoundError if there is no file.
    A file truncated exactly between two records cannot be distinguished from a complete one.
    """
    path = Path(path)
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        for number in count():
            place = Place(path, number, file.tell())
            header = file.read(_HEADER_BYTES)
            if not header:
                return
            yield Record(place, _data(file, place, header, size))


def _data(file: BinaryIO, place: Place, header: bytes, size: int) -> bytes:
    if len(header) < _HEADER_BYTES:
        raise place.error(f"the file ends after {len(header)} of the {_HEADER_BYTES} bytes of its header")
    length, checksum = struct.unpack("<QI", header)
    if masked_crc32c(header[:8]) != checksum:
        raise place.error("its length has a wrong checksum")
    rest, there = length + _FOOTER_BYTES, size - file.tell()
    if there < rest:  # checked before reading, which would allocate memory for any length
        raise place.error(f"the file ends after {there} of the {rest} bytes that follow its header")
    data = file.read(length)
    if file.read(_FOOTER_BYTES) != struct.pack("<I", masked_crc32c(data)):
        raise place.error(f"its {length} bytes of data do not fit their checksum")
    return data


def masked_crc32c(data: bytes) -> int:
    """The checksum as TFRecords store it: rotated and shifted, so that data may itself contain checksums."""
    checksum = crc32c(data)
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF


def parse_example(record: Record) -> dict[str, Values]:
    """The features, by name, of a record that contains a `tf.train.Example`.

    Lists of bytes are views into the record, not copies; an empty feature is an empty list. Unknown fields are
    skipped, as in protobuf. Raises TFRecordError if the data is not such a message.
    """
    try:
        features = {}
        for group in _delimited(memoryview(record.data), 1):
            for entry in _delimited(group, 1):
                names = [bytes(name).decode() for name in _delimited(entry, 1)]  # the last counts; all must be UTF-8
                features["".join(names[-1:])] = _values(list(_delimited(entry, 2)))
        return features
    except _Malformed as malformed:
        raise record.place.error(f"not a tf.train.Example: {malformed}") from None
    except UnicodeDecodeError:
        raise record.place.error("not a tf.train.Example: a feature's name is not UTF-8") from None


class _Malformed(Exception):
    """Why bytes are not a protobuf message."""


def _values(features: Sequence[memoryview]) -> Values:
    """The list in a Feature; several Features are parts of one. If lists differ in kind, the last kind counts."""
    kind, lists = _BYTES, list[memoryview]()
    for feature in features:
        for number, wire, content in _fields(feature):
            if wire == _DELIMITED and number in (_BYTES, _FLOATS, _INTS):
                if number != kind:
                    kind, lists = number, []
                lists.append(content)
    if kind == _FLOATS:
        return np.concatenate([np.empty(0, np.float32), *(piece for floats in lists for piece in _floats(floats))])
    if kind == _INTS:
        return np.array([number for ints in lists for number in _ints(ints)], np.int64)
    return [value for values in lists for value in _delimited(values, 1)]


def _floats(message: memoryview) -> Iterator[Float32[np.ndarray, " values"]]:
    """One number per field, or many in one field ("packed")."""
    for number, wire, content in _fields(message):
        if number == 1 and wire in (_FIXED32, _DELIMITED):
            if len(content) % 4:
                raise _Malformed(f"a list of float32 has {len(content)} bytes")
            yield np.frombuffer(content, "<f4").astype(np.float32, copy=False)


def _ints(message: memoryview) -> Iterator[int]:
    for number, wire, content in _fields(message):
        if number == 1 and wire in (_VARINT, _DELIMITED):
            at = 0
            while at < len(content):
                value, at = _varint(content, at)
                yield value - (1 << 64) if value >> 63 else value


def _delimited(message: memoryview, wanted: int) -> Iterator[memoryview]:
    for number, wire, content in _fields(message):
        if number == wanted and wire == _DELIMITED:
            yield content


def _fields(message: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    """The fields of a message in order: number, wire type and content, without its length prefix."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, wire = tag >> 3, tag & 7
        if not 0 < number < 1 << 29:
            raise _Malformed(f"a field has the number {number}")
        if wire == _VARINT:
            length = _varint(message, at)[1] - at
        elif wire == _DELIMITED:
            length, at = _varint(message, at)
        elif wire in (_FIXED64, _FIXED32):
            length = 8 if wire == _FIXED64 else 4
        else:
            raise _Malformed(f"a field has the wire type {wire}")
        if length > len(message) - at:
            raise _Malformed(f"a field of {length} bytes has only {len(message) - at}")
        yield number, wire, message[at : at + length]
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """An unsigned number of at most 64 bits, and the position after it."""
    value = 0
    for i, byte in enumerate(message[at : at + 10]):
        value |= (byte & 0x7F) << 7 * i
        if byte < 0x80:
            if value >> 64:
                raise _Malformed("a number has more than 64 bits")
            return value, at + i + 1
    raise _Malformed("a number has more than 64 bits" if len(message) - at >= 10 else "a number is truncated")
