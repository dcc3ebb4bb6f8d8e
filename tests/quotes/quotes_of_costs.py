"""What docs/results.md quotes of run time and memory, from the committed benchmarks."""

from typing import Any

from quoted_pages import evidence


def benchmark(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = evidence("kitinet").json(f"benchmarks/{name}.json")["cases"]
    return found


def longer(name: str, case: str, variant: str) -> tuple[float, float, float]:
    (found,) = (one for one in benchmark(name) if one["case"] == case)
    (row,) = (one for one in found.get("variants") or found["rows"] if one["variant"] == variant)
    return 100 * row["longer"], 100 * row["longer_lowest"], 100 * row["longer_highest"]


def cost_on_a_gpu() -> list[str]:
    cases = [one["implementations"] for one in benchmark("collision.cuda")]
    faster = [one["triton"]["times_faster"] for one in cases if "triton" in one]
    memory = [one["literal"]["peak_bytes"] / one["triton"]["peak_bytes"] for one in cases if "triton" in one]
    gpt2 = next(one["variant"] for one in benchmark("step.gpt2.cuda")[0]["variants"] if one["residual"] == "kiti")
    middle, low, high = longer("step.gpt2.cuda", "gpt2", gpt2)
    bert = next(one["variant"] for one in benchmark("step.bert-base.cuda")[0]["variants"] if one["residual"] == "kiti")
    b, b_low, b_high = longer("step.bert-base.cuda", "bert-base", bert)
    return [
        f"On {len(cases)} cases of the papers' shapes the kernels are {min(faster):.1f} to {max(faster):.0f} times as fast as "
        f"the literal form, at most 1/{min(memory):.0f} of its memory",
        f"{middle:.0f} % longer [{low:.0f}, {high:.0f}]",
        f"{b:.0f} % longer [{b_low:.0f}, {b_high:.0f}] on a noisy machine",
    ]


def cost_on_a_cpu() -> list[str]:
    of_step = {
        one["case"]: {row["variant"]: 100 * row["longer"] for row in one["variants"]} for one in benchmark("step.cpu")
    }
    small = [
        value
        for case in ("resnet18", "resnet50", "gpt2", "bert-base")
        for name, value in of_step[case].items()
        if name.startswith("kiti")
    ]
    fno = {
        name: value for name, value in of_step["fno1d"].items() if name.startswith("kiti") and not name.endswith("1024")
    }
    assert max(fno, key=lambda name: fno[name]) == "kiti heads=1"
    hooks = {
        case: longer("seam.cpu", case, "hooks")
        for case in (
            "resnet50, train",
            "gpt2, train",
            "bert-base, train",
            "resnet50, eval",
            "gpt2, eval",
            "bert-base, eval",
        )
    }
    assert all(low < 1 for _, low, _ in hooks.values())
    bert, low, high = hooks["bert-base, train"]
    assert all(one[1] < 0 < one[2] for case, one in hooks.items() if case != "bert-base, train")
    qwen = {row["variant"]: row for row in benchmark("step.qwen2.cpu")[0]["variants"]}
    extra = [qwen[name]["median_s"] - qwen["add"]["median_s"] for name in ("soft", "hard")]
    (loops,) = benchmark("loops.cpu")
    bare = {row["loop"]: 100 * row["longer"] for row in loops["loops"]}
    epoch = next(one for one in benchmark("texts.cpu") if one["case"] == "epoch")
    steps = next(one for one in benchmark("texts.cpu") if one["case"] == "steps")
    padding = {row["loop"]: 100 * row["padding"] for row in epoch["loops"]}
    ko = {
        name: [
            100 * row["longer"] for one in benchmark("ko_cost.cpu") for row in one["variants"] if row["variant"] == name
        ]
        for name in ("soft", "hard")
    }
    printed = {
        name: [
            100 * (float(one[name][0]) / float(one["none"][0]) - 1)
            for of in evidence("ko").printed("cost").values()
            for one in of.values()
        ]
        for name in ("soft", "hard")
    }
    forms = [one for one in benchmark("collision.cpu") if one["auto"] != "literal"]
    times = [
        (one["implementations"]["literal"]["partners"], one["implementations"][one["auto"]]["times_faster"])
        for one in forms
    ]
    solver = [one["times_faster"] for one in benchmark("navier_stokes.cpu")]
    return [
        f"is {max(0, min(small)):.0f} to {max(small):.0f} % longer for ResNet, GPT-2 and BERT",
        f"{min(fno.values()):.0f} % to {max(fno.values()):.0f} % (one head) longer for FNO",
        f"{bert:.1f} % longer [{low:.1f}, {high:.1f}]",
        f"{100 * qwen['soft']['longer']:.0f} % (soft) and {100 * qwen['hard']['longer']:.0f} % (hard) longer: some "
        f"{extra[0]:.0f} and {extra[1]:.0f} seconds",
        f"in a plain PyTorch one ({bare['kiti']:+.1f} %) and in that of timm's train.py "
        f"({100 * (loops['kiti']['over_timm'] - 1):+.0f} %)",
        f"is {epoch['faster']:.1f} times as fast as in transformers' Trainer [{epoch['lowest']:.1f}, {epoch['highest']:.1f}]",
        f"have {padding['kiti']:.0f} % padding instead of {padding['Trainer']:.0f} %",
        f"a step is {steps['faster']:.2f} times as fast [{steps['lowest']:.2f}, {steps['highest']:.2f}]",
        f"take {min(ko['soft']):+.0f} to {max(ko['soft']):+.0f} % longer with soft and {min(ko['hard']):+.0f} to "
        f"{max(ko['hard']):+.0f} % with hard collisions",
        f"the paper prints {min(printed['soft']):.0f} to {max(printed['soft']):.0f} % and {min(printed['hard']):.0f} to "
        f"{max(printed['hard']):.0f} %",
        f"is at least {min(x for partners, x in times if partners <= 1):.0f} times as fast as the paper's formula written out where "
        f"few pairs collide, and {min(x for partners, x in times if 15 <= partners <= 60):.0f} times where thirty do",
        f"is {min(solver):.0f} to {max(solver):.0f} times as fast as the FNO authors' scheme",
    ]


def placebos() -> list[str]:
    times = {
        what: [
            row["times"]
            for case in benchmark("placebos.cpu")
            if case["case"].startswith(what)
            for name, row in case["rows"].items()
            if name != "the collision"
        ]
        for what in ("features", "gradients")
    }
    every = [*times["features"], *times["gradients"]]
    return [
        f"take {min(times['features']):.1f} to {max(times['features']):.1f} times as long as the collision of features",
        f"{min(times['gradients']):.1f} to {max(times['gradients']):.1f} times as long as that of gradients",
        f"{sum(one <= 1.2 for one in every)} of {len(every)} cases stay within the mark of 1.2",
    ]


PASSAGES = (cost_on_a_gpu, cost_on_a_cpu, placebos)
