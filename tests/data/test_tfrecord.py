"""TFRecords are read as the `tfrecord` package writes them; damaged ones are rejected."""

import random
import struct
from pathlib import Path

import numpy as np
import pytest
import tfrecord
from crc32c import crc32c
from google.protobuf.message import DecodeError
from tfrecord import example_pb2

from kiti.data.tfrecord import Place, Record, TFRecordError, masked_crc32c, parse_example, records

FEATURES = {
    "buffer": (np.arange(5, dtype="<f4").tobytes(), "byte"),
    "words": ([b"", b"wing", bytes(300)], "byte"),
    "floats": ([0.5, -1.5, 3e38], "float"),
    "ints": ([0, 1, -1, 300, 2**63 - 1, -(2**63)], "int"),
    "no floats": ([], "float"),
    "ρ": (7, "int"),
}


def framed(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked_crc32c(length)) + data + struct.pack("<I", masked_crc32c(data))


def record(data: bytes) -> Record:
    return Record(Place(Path("some.tfrecord"), 3, 1234), data)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "written.tfrecord"
    writer = tfrecord.TFRecordWriter(str(path))
    writer.write(FEATURES)
    writer.write({})
    writer.write({"buffer": (bytes(range(256)), "byte")})
    writer.close()
    return path


def small(folder: Path) -> tuple[Path, bytes, list[int]]:
    """A file of three records, its contents, and where records begin and the last one ends."""
    pieces = [framed(b"flow round a wing"), framed(b""), framed(b"0123456789abcdefghijk")]
    path = folder / "small.tfrecord"
    path.write_bytes(b"".join(pieces))
    return path, b"".join(pieces), np.cumsum([0, *map(len, pieces)]).tolist()


def test_crc32c_matches_published_vectors() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(b"") == 0
    # RFC 3720, B.4
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E
    assert crc32c(bytes(reversed(range(32)))) == 0x113FDB5C


def test_records_match_those_the_package_reads(written: Path) -> None:
    found = list(records(written))
    assert [one.data for one in found] == [bytes(data) for data in tfrecord.tfrecord_iterator(str(written))]
    assert [one.place.number for one in found] == [0, 1, 2]
    lengths = [16 + len(one.data) for one in found]
    assert [one.place.offset for one in found] == [0, lengths[0], lengths[0] + lengths[1]]


def test_the_package_reads_our_records(tmp_path: Path) -> None:
    path, _, _ = small(tmp_path)
    assert [bytes(data) for data in tfrecord.tfrecord_iterator(str(path))] == [one.data for one in records(path)]


def test_examples_match_what_was_written(written: Path) -> None:
    first, second, third = map(parse_example, records(written))
    assert list(first.keys() ^ FEATURES.keys()) == []
    assert first["buffer"] == [FEATURES["buffer"][0]]
    assert first["words"] == FEATURES["words"][0]
    for name, dtype in (("floats", np.float32), ("no floats", np.float32), ("ints", np.int64)):
        assert first[name].dtype == dtype
        np.testing.assert_array_equal(first[name], np.array(FEATURES[name][0], dtype))
    assert first["ρ"].tolist() == [7]
    assert second == {}
    assert third == {"buffer": [bytes(range(256))]}


def test_bytes_are_not_copied(written: Path) -> None:
    last = list(records(written))[-1]
    [view] = parse_example(last)["buffer"]
    assert view.obj is last.data


def test_a_missing_file_and_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(records(tmp_path / "none"))
    (tmp_path / "empty").touch()
    assert list(records(tmp_path / "empty")) == []


def test_damage_to_any_byte_is_detected(tmp_path: Path) -> None:
    path, whole, begins = small(tmp_path)
    for at in range(len(whole)):
        number = sum(begin <= at for begin in begins) - 1
        for flip in (0x01, 0x80, 0xFF):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :])
            read = []
            with pytest.raises(TFRecordError) as raised:
                read.extend(one.place.number for one in records(path))
            assert str(raised.value).startswith(f"{path}: record {number} at byte {begins[number]}: its ")
            assert "\n" not in str(raised.value)
            assert raised.value.offset == begins[number]


def test_records_before_the_damage_are_returned(tmp_path: Path) -> None:
    path, whole, begins = small(tmp_path)
    path.write_bytes(whole[:-1] + b"?")
    read = records(path)
    assert [next(read).place.offset, next(read).place.offset] == begins[:2]
    with pytest.raises(TFRecordError, match=f"record 2 at byte {begins[2]}: its 21 bytes of data do not fit"):
        next(read)


def test_every_truncation_inside_a_record_is_reported(tmp_path: Path) -> None:
    path, whole, begins = small(tmp_path)
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        if length in begins:
            assert len(list(records(path))) == begins.index(length)
            continue
        number = sum(begin <= length for begin in begins) - 1
        with pytest.raises(TFRecordError, match=f"record {number} at byte {begins[number]}: the file ends after"):
            list(records(path))


def test_an_absurd_length_allocates_no_memory(tmp_path: Path) -> None:
    length = struct.pack("<Q", 2**63)
    path = tmp_path / "absurd.tfrecord"
    path.write_bytes(length + struct.pack("<I", masked_crc32c(length)) + b"data")
    with pytest.raises(TFRecordError, match=f"record 0 at byte 0: the file ends after 4 of the {2**63 + 4} bytes"):
        list(records(path))


def delimited(number: int, content: bytes) -> bytes:
    assert len(content) < 1 << 14
    length = bytes([len(content)] if len(content) < 0x80 else [len(content) & 0x7F | 0x80, len(content) >> 7])
    return bytes([number << 3 | 2]) + length + content


def example(name: bytes, feature: bytes) -> bytes:
    return delimited(1, delimited(1, delimited(1, name) + delimited(2, feature)))


TWO_NAMES = delimited(1, delimited(1, delimited(1, b"\xff") + delimited(1, b"x") + delimited(2, b"")))


def test_packed_and_unpacked_numbers() -> None:
    floats = b"\x0d" + struct.pack("<f", 1.5) + delimited(1, struct.pack("<2f", 2.5, -3.5)) + delimited(1, b"")
    ints = b"\x08\x05" + delimited(1, b"\x96\x01\x07") + b"\x08" + b"\xff" * 9 + b"\x01"
    found = parse_example(record(example(b"f", delimited(2, floats)) + example(b"i", delimited(3, ints))))
    assert found["f"].tolist() == [1.5, 2.5, -3.5]
    assert found["i"].tolist() == [5, 150, 7, -1]


def test_unknown_fields_are_skipped() -> None:
    unknown = b"\x78\x96\x01" + b"\x79" + bytes(8) + b"\x7d" + bytes(4) + delimited(15, b"?") + b"\x08\x01"
    feature = unknown + delimited(1, unknown + delimited(1, b"x") + unknown)
    entry = unknown + delimited(1, b"a") + unknown + delimited(2, feature)
    found = parse_example(record(unknown + delimited(1, unknown + delimited(1, entry)) + unknown))
    assert found == {"a": [b"x"]}


def test_numbers_with_other_wire_types_are_skipped() -> None:
    eight, four, varint = b"\x09" + bytes(8), b"\x0d" + bytes(4), b"\x08\x01"
    floats, ints = delimited(2, eight + varint + four), delimited(3, eight + varint + four)
    found = parse_example(record(example(b"f", floats) + example(b"i", ints)))
    assert found["f"].tolist() == [0]
    assert found["i"].tolist() == [1]


def test_the_last_kind_wins_and_its_lists_are_joined() -> None:
    words, ints = delimited(1, delimited(1, b"x")), delimited(3, b"\x08\x07")
    assert parse_example(record(example(b"a", words + ints + ints)))["a"].tolist() == [7, 7]
    assert parse_example(record(example(b"a", words + ints + words)))["a"] == [b"x"]
    assert by_protobuf(example(b"a", words + ints + words)) == {"a": repr([b"x"]).encode()}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x80", "a number is truncated"),
        (b"\x08", "a number is truncated"),
        (b"\x08" + b"\x80" * 10 + b"\x00", "a number has more than 64 bits"),
        (b"\x08" + b"\xff" * 9 + b"\x02", "a number has more than 64 bits"),
        (b"\x0a\x05abc", "a field of 5 bytes has only 3"),
        (b"\x0a" + b"\xff" * 9 + b"\x01", f"a field of {2**64 - 1} bytes has only 0"),
        (b"\x7d\x00\x00", "a field of 4 bytes has only 2"),
        (b"\x79\x00", "a field of 8 bytes has only 1"),
        (b"\x0b", "a field has the wire type 3"),
        (b"\x0f", "a field has the wire type 7"),
        (b"\x02\x00", "a field has the number 0"),
        (b"\xff" * 9 + b"\x01", f"a field has the number {2**61 - 1}"),
        (example(b"f", delimited(2, delimited(1, bytes(5)))), "a list of float32 has 5 bytes"),
        (example(b"i", delimited(3, delimited(1, b"\x80"))), "a number is truncated"),
        (example(b"\xff", b""), "a feature's name is not UTF-8"),
        (TWO_NAMES, "a feature's name is not UTF-8"),
    ],
)
def test_invalid_examples_are_reported_in_one_line(data: bytes, reason: str) -> None:
    with pytest.raises(TFRecordError) as raised:
        parse_example(record(data))
    assert str(raised.value) == f"some.tfrecord: record 3 at byte 1234: not a tf.train.Example: {reason}"
    assert raised.value.offset == 1234


def by_protobuf(data: bytes) -> dict[str, bytes]:
    message = example_pb2.Example()
    message.ParseFromString(data)
    return {name: values_of(feature) for name, feature in message.features.feature.items()}


def values_of(feature: example_pb2.Feature) -> bytes:
    kind = feature.WhichOneof("kind")
    values = getattr(feature, kind).value if kind else []
    if kind in (None, "bytes_list"):
        return repr([bytes(value) for value in values]).encode()
    return plain_nans(np.array(values, np.float32 if kind == "float_list" else np.int64)).tobytes()


def plain_nans(values: np.ndarray) -> np.ndarray:
    """Every NaN as the same one: protobuf 6 changes the bits of some."""
    return np.where(np.isnan(values), np.array(np.nan, values.dtype), values) if values.dtype == np.float32 else values


def values_of_ours(values: object) -> bytes:
    if isinstance(values, list):
        return repr([bytes(value) for value in values]).encode()
    assert isinstance(values, np.ndarray)
    return plain_nans(values).tobytes()


def test_of_duplicate_names_the_last_wins_and_both_are_parsed() -> None:
    twice = delimited(1, delimited(1, delimited(1, b"y") + delimited(1, b"x") + delimited(2, b"")))
    assert list(parse_example(record(twice))) == list(by_protobuf(twice)) == ["x"]
    with pytest.raises(DecodeError):
        by_protobuf(TWO_NAMES)


def test_random_bytes_raise_our_error_or_match_protobuf() -> None:
    """What we accept, protobuf accepts with the same contents. We reject some that it accepts: groups, long numbers."""
    generator = random.Random(1)
    # One by one: protobuf's map order differs between processes.
    sound = b"".join(tfrecord.TFRecordWriter.serialize_tf_example({name: FEATURES[name]}) for name in FEATURES)
    taken = compared = 0
    for trial in range(6000):
        if trial % 3 == 0:
            data = generator.randbytes(generator.randrange(40))
        elif trial % 3 == 1:
            data = bytearray(sound)
            for _ in range(generator.randrange(1, 4)):
                data[generator.randrange(len(data))] = generator.randrange(256)
        else:  # nested like an Example, so that the innermost lists are reached
            number = generator.choice([1, 2, 3])
            lists = delimited(number, generator.randbytes(generator.randrange(8)))
            data = example(b"x", lists + generator.randbytes(generator.randrange(4)))
        try:
            found = parse_example(record(bytes(data)))
        except TFRecordError:
            continue
        taken += 1
        # protobuf's Python drops entries that have unknown fields besides name and feature.
        theirs = by_protobuf(bytes(data))
        assert {name: values_of_ours(found[name]) for name in theirs} == theirs
        compared += len(theirs)
    assert taken < 5000
    assert compared > 5000
