"""The mode in which a step is planned: what it counts equals what torch counts, and what lives is what would live."""

import torch
from torch.nn import functional

from kiti.planning.meta_operations import MetaOperations
from kiti.training.counting import counter


def on_meta(*shape, **kind):
    return torch.empty(*shape, device="meta", **kind)


def test_the_most_that_is_alive_at_once():
    with MetaOperations() as counted:
        a = on_meta(1000)  # 4000 bytes
        b = a * 2
        del a
        c = b.view(10, 100) + 1  # the view has no storage of its own
        del b
        c.add_(1)
    assert (counted.alive, counted.peak) == (4000, 8000)


def test_a_repeated_operation_gives_the_same_as_the_first():
    x, weight = on_meta(4, 6, 9, 9).to(memory_format=torch.channels_last), on_meta(8, 3, 3, 3)
    results = []
    for _ in range(3):
        with MetaOperations() as counted:
            y = functional.conv2d(x, weight, stride=2, padding=1, groups=2)
            results.append((y.shape, y.stride(), y.dtype, counted.flops, counted.peak))
    assert results[0] == results[1] == results[2]
    assert results[0][:2] == ((4, 8, 5, 5), functional.conv2d(x, weight, stride=2, padding=1, groups=2).stride())
    assert results[0][3] == 2 * 4 * 8 * 25 * 3 * 9


def test_numbers_that_are_equal_may_be_of_different_types():
    x = on_meta(3, dtype=torch.int64)
    with MetaOperations():
        assert [(x + one).dtype for one in (1, 1.0, True)] == [torch.int64, torch.float32, torch.int64]


def test_operations_on_real_tensors_are_left_alone():
    with MetaOperations() as counted:
        x = torch.arange(3.0)
        for _ in range(3):
            x.add_(1)
    assert x.tolist() == [3, 4, 5]
    assert counted.peak == 0


def test_a_gradient_of_a_grouped_convolution_costs_as_much_as_the_convolution():
    x, weight = torch.randn(2, 8, 6, 6, requires_grad=True), torch.randn(8, 1, 3, 3, requires_grad=True)
    with counter() as forward:
        y = functional.conv2d(x, weight, padding=1, groups=8)
    with counter() as backward:
        y.sum().backward()
    assert forward.get_total_flops() == 2 * 2 * 8 * 36 * 9
    assert backward.get_total_flops() == 2 * forward.get_total_flops()


def test_a_transform_and_its_gradient_cost_the_usual_count():
    x = torch.randn(3, 64, requires_grad=True)
    with counter() as forward:
        y = torch.fft.rfft(x)
    with counter() as backward:
        y.abs().sum().backward()
    assert forward.get_total_flops() == 2.5 * 3 * 64 * 6
    assert backward.get_total_flops() == 5 * 3 * 64 * 6
