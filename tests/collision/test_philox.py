"""The counter-based generator: published known answers, and the distributions made from its words."""

import numpy as np
import pytest
import scipy.stats

from kiti.collision.cpu import philox

ALL = 0xFFFFFFFF


@pytest.mark.parametrize(
    ("counter", "seed", "expected"),
    [  # from Random123's kat_vectors, philox4x32 10
        ([0, 0, 0, 0], 0, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([ALL] * 4, ALL << 32 | ALL, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        ([0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344], 0x299F31D0A4093822,
         [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]),
    ],
)  # fmt: skip
def test_known_answers(counter, seed, expected):
    assert [int(word) for word in philox.words(*map(np.uint32, counter), np.uint64(seed))] == expected


def draw(count, seed):
    counters = np.zeros((4, count), np.uint32)
    counters[0] = np.arange(count)
    uniform, z = np.zeros((4, count), np.float32), np.zeros(4 * count, np.float32)
    philox.draw(counters, count, np.uint64(seed), uniform, z)
    return uniform.astype(float), z.astype(float)


def test_uniform_words_become_normal_numbers_by_box_and_muller():
    (u0, u1, u2, u3), z = draw(100_000, seed=5)
    for one, other, even, odd in [(u0, u1, z[0::4], z[1::4]), (u2, u3, z[2::4], z[3::4])]:
        assert 0 < one.min() < one.max() < 1
        radius = np.sqrt(-2 * np.log(one))
        np.testing.assert_allclose(even, radius * np.cos(2 * np.pi * other), atol=2e-6)
        np.testing.assert_allclose(odd, radius * np.sin(2 * np.pi * other), atol=2e-6)
    assert scipy.stats.kstest(z, "norm").pvalue > 1e-3
    correlation = np.corrcoef(z.reshape(-1, 4).T) - np.eye(4)
    assert abs(correlation).max() < 5 / np.sqrt(100_000)


def test_another_seed_or_counter_gives_another_draw():
    (_, a), (_, b) = draw(1000, seed=1), draw(1000, seed=2)
    assert len(np.unique(np.concatenate([a, b]))) > 7990
