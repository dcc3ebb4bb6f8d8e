"""GPUs counted without torch, and divided among runs."""

import pytest

from kiti.launching.gpus import Shares, visible_gpus


def test_device_files_are_counted(tmp_path):
    assert visible_gpus({}, tmp_path) == []
    for name in ("nvidia0", "nvidia2", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    assert visible_gpus({}, tmp_path) == ["0", "1"]  # CUDA numbers those it finds from 0


@pytest.mark.parametrize(
    ("value", "names"),
    [("0,3", ["0", "3"]), (" GPU-5a, MIG-7 ", ["GPU-5a", "MIG-7"]), ("", []), ("-1", []), ("1,-1,2", ["1"])],
)
def test_the_variable_counts_before_device_files(value, names, tmp_path):
    (tmp_path / "nvidia0").touch()
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": value}, tmp_path) == names


def test_more_runs_than_gpus_share_evenly():
    shares = Shares(["a", "b"])
    taken = [shares.take()["CUDA_VISIBLE_DEVICES"] for _ in range(4)]
    assert sorted(taken) == ["a", "a", "b", "b"]
    shares.give_back({"CUDA_VISIBLE_DEVICES": "b"})
    assert shares.take() == {"CUDA_VISIBLE_DEVICES": "b"}
    assert Shares([]).take() == {}
