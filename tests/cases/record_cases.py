"""A record to write, read, merge and tabulate."""

from kiti.storage.records import DataState, GitState, Record


def make_record(seed=0, **changes):
    values = {
        "experiment": "burgers",
        "scale": "smoke",
        "seed": seed,
        "config_hash": "0123456789ab",
        "config": {"data": {"n_train": 40}, "trainer": {"max_epochs": 2}},
        "overrides": ["experiment=burgers"],
        "revisions": {"data": 1, "model": 1},
        "git": GitState(commit="c" * 40, dirty=False, diff=""),
        "versions": {"torch": "2.11.0"},
        "data": DataState(content="d1", split="s1"),
        "device": "cpu",
        "device_name": "Some CPU",
        "precision": "32-true",
        "world_size": 1,
        "started": "2026-01-01T00:00:00Z",
        "wall_seconds": 1.5,
        "train_samples_per_second": 100.0,
        "peak_memory_mib": 300.0,
        "parameters": 1000,
        "flops_per_sample": 1e6,
        "metrics": {"test/relative_l2": 0.1, "test/mse": 0.01},
        "collisions": {"blocks.0": {"partners": 0.5, "energy_ratio": 1.1}},
    }
    return Record(**(values | changes))
