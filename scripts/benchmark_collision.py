"""Time and peak memory of the collision's implementations, forward and backward, side by side.

    python scripts/benchmark_collision.py --systems 2048 --dim 512 --heads 8 --coef 0.5 --repeats 5

Runs are interleaved, so that a slow minute of the machine falls on all alike. Peak memory is that of a fresh
process per implementation, less what the process held just before the call.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time

import torch

from kiti.collision import IMPLEMENTATIONS, collide_with_statistics


def main() -> None:
    args = parse()
    torch.set_num_threads(args.threads)
    if args.measure_memory:
        print(peak_bytes(args))
        return
    print(f"torch {torch.__version__}, {device_name()}, {args.threads} threads")
    print(f"{args.systems} systems, D={args.dim}, collision_heads={args.heads}, coll_coef={args.coef}, float32")
    # Memory first: a child's ru_maxrss starts from what its parent held.
    peaks = {name: peak_in_fresh_process(args, name) for name in IMPLEMENTATIONS}
    agreement = disagreement(args)
    seconds, partners = time_interleaved(args)
    rows = [
        {
            "implementation": name,
            "median_s": statistics.median(seconds[name]),
            "min_s": min(seconds[name]),
            "max_s": max(seconds[name]),
            "times_faster": statistics.median(seconds["literal"]) / statistics.median(seconds[name]),
            "peak_mib": peaks[name],
            "partners": partners[name],
        }
        for name in IMPLEMENTATIONS
    ]
    print(f"{'':10} {'median s':>10} {'min … max s':>19} {'times faster':>13} {'peak MiB':>10} {'partners':>9}")
    for row in rows:
        spread = f"{row['min_s']:.4f} … {row['max_s']:.4f}"
        print(
            f"{row['implementation']:10} {row['median_s']:10.4f} {spread:>19} {row['times_faster']:13.1f}"
            f" {row['peak_mib']:10.1f} {row['partners']:9.4f}"
        )
    print(
        f"largest difference on given directions: {agreement['largest_difference']:.1e}"
        f" ({agreement['compared_systems']} systems, {agreement['compared_partners']:.2f} partners a particle)"
    )
    if args.json:
        record = {"torch": torch.__version__, "device": device_name(), **vars(args), "rows": rows, **agreement}
        with open(args.json, "w") as file:
            json.dump(record, file, indent=2)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", type=int, default=2048)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--coef", type=float, default=0.5)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", help="also write the numbers here")
    parser.add_argument("--measure-memory", choices=tuple(IMPLEMENTATIONS), help=argparse.SUPPRESS)
    return parser.parse_args()


def features(args: argparse.Namespace, systems: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """x, v and a gradient of x', unit normal."""
    torch.manual_seed(0)
    x, v, grad = (torch.randn(systems, args.dim) for _ in range(3))
    return x.requires_grad_(), v.requires_grad_(), grad


def forward_backward(name: str, args: argparse.Namespace, x, v, grad, directions=None):
    """x', the gradients of x and v, and the statistics."""
    out, collisions = collide_with_statistics(
        x, v, collision_heads=args.heads, coll_coef=args.coef, directions=directions, implementation=name
    )
    return out.detach(), *torch.autograd.grad(out, (x, v), grad), collisions


def time_interleaved(args: argparse.Namespace) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Seconds of every repetition, after one that does not count, and partners a particle."""
    tensors = features(args, args.systems)
    seconds: dict[str, list[float]] = {name: [] for name in IMPLEMENTATIONS}
    partners = {}
    for repeat in range(args.repeats + 1):
        for name in IMPLEMENTATIONS:
            start = time.perf_counter()
            collisions = forward_backward(name, args, *tensors)[-1]
            if repeat:
                seconds[name].append(time.perf_counter() - start)
            partners[name] = collisions.partners.item()
    return seconds, partners


def disagreement(args: argparse.Namespace) -> dict[str, float]:
    """The largest difference of results and gradients from `literal`, on the same directions.

    Positions are drawn close together, so that pairs do collide whatever --coef is timed.
    """
    systems, n = min(args.systems, 16), args.dim // args.heads
    normal = torch.randn(systems, n, n, args.heads)
    normal = normal / normal.norm(dim=-1, keepdim=True) * torch.ones(n, n).triu(1)[..., None]
    directions = normal - normal.transpose(1, 2)
    x, v, grad = features(args, systems)
    tensors = ((0.1 * x).detach().requires_grad_(), v, grad)
    results = {name: forward_backward(name, args, *tensors, directions)[:3] for name in IMPLEMENTATIONS}
    partners = forward_backward("literal", args, *tensors, directions)[-1].partners.item()
    pairs = [zip(result, results["literal"], strict=True) for result in results.values()]
    largest = max((a - b).abs().max().item() for pair in pairs for a, b in pair)
    return {"compared_systems": systems, "compared_partners": partners, "largest_difference": largest}


def peak_in_fresh_process(args: argparse.Namespace, name: str) -> float:
    """MiB at the peak of one forward and backward, above what was held before."""
    command = [sys.executable, __file__, "--measure-memory", name]
    for option in ("systems", "dim", "heads", "coef", "threads"):
        command += [f"--{option}", str(getattr(args, option))]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout) / 2**20


def peak_bytes(args: argparse.Namespace) -> int:
    """Growth of this process's resident peak over one call, libraries having been loaded by a tiny one."""
    forward_backward(args.measure_memory, args, *features(args, 1))
    tensors = features(args, args.systems)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    forward_backward(args.measure_memory, args, *tensors)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024


def device_name() -> str:
    """The processor's name as far as the system tells it."""
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
