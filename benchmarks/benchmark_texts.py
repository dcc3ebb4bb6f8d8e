"""Fine-tuning a BERT in kiti's loop and in transformers' Trainer: the same steps, and an epoch over many lengths.

    python -m benchmarks.benchmark_texts --json experiments/benchmarks/texts.cpu.json \\
        --markdown experiments/benchmarks/texts.cpu.md
    python -m benchmarks.benchmark_texts --device cuda

Both train the same weights with AdamW at a falling rate, without clipping, on random tokens. In `steps` all texts
have the same length, so that batches are alike. In `epoch` lengths are distributed like IMDb's: kiti batches similar
lengths, and Trainer samples as it does by default; DataCollatorWithPadding pads to the longest of a batch. On a CPU the
model has MiniLM's width and three layers, and lengths are a quarter.
"""

import math
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int64
from pytorch_lightning import Callback
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch import Tensor
from torch.utils.data import Dataset
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DataCollatorWithPadding,
    PreTrainedTokenizerFast,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from benchmarks import benchmarking
from benchmarks.benchmarking import Mark, judge, timing_text
from benchmarks.measuring import Timing, paired_ratio
from kiti.configuration.compose import Composed, compose
from kiti.data.text.text_data import Source, TextData
from kiti.data.text.tokenised import Tokenised, TokenisedSplit
from kiti.report.formats import NOTHING, Grid
from kiti.training import building

MEDIAN, SPREAD, MOST = 230, 0.65, 512  # of a lognormal distribution of IMDb's lengths in tokens, and BERT's positions
VOCABULARY = 30522
WARM = 2  # uncounted steps of a round
LEAST_STEP, LEAST_EPOCH = 0.98, 1.3  # marks: times as fast as Trainer


class RandomTexts(TextData):
    """Items of given lengths, held in memory, for training alone."""

    def __init__(self, lengths: Int64[Tensor, "n"], batch_size: int) -> None:
        super().__init__(
            set="random texts",
            classes=2,
            n_train=None,
            n_validation=None,
            test_on="test",
            max_length=int(lengths.max()),
            tokenizer="",
            tokenizer_commit=None,
            data_dir="",
            batch_size=batch_size,
            eval_batch_size=batch_size,
            seed=0,
        )
        generator = torch.Generator().manual_seed(0)
        starts = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
        tensors = {
            "train.tokens": torch.randint(1000, VOCABULARY, (int(starts[-1]),), generator=generator, dtype=torch.int32),
            "train.segments": torch.zeros(int(starts[-1]), dtype=torch.uint8),
            "train.starts": starts,
            "train.truncated": torch.zeros(len(lengths), dtype=torch.uint8),
            "train.labels": torch.randint(2, (len(lengths),), generator=generator),
        }
        tensors |= {name.replace("train", "test"): tensor for name, tensor in tensors.items()}
        report = b'{"counts": {}, "content": "0", "splits": ["train", "test"]}'
        self._tokenised = Tokenised(tensors | {"report": torch.frombuffer(bytearray(report), dtype=torch.uint8)}, pad=0)
        self._items = self._chosen(self._tokenised)
        self.training = self._tokenised.splits["train"]

    def find(self) -> Source:
        raise AssertionError("all items are held in memory")

    def val_dataloader(self) -> list[Any]:  # type: ignore[override]
        return []


class Items(Dataset[dict[str, Any]]):
    """The same items as the dictionaries that Trainer takes."""

    def __init__(self, split: TokenisedSplit) -> None:
        self.items = []
        for item in range(len(split)):
            ids, mask, segments, label = split.batch(torch.tensor([item]))
            names = {"input_ids": ids, "attention_mask": mask, "token_type_ids": segments}
            self.items.append({name: tensor[0].tolist() for name, tensor in names.items()} | {"label": int(label)})

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, item: int) -> dict[str, Any]:
        return self.items[item]


class Clock:
    """Notes when steps end. On a GPU it waits at the first and at the last counted one."""

    def __init__(self, device: torch.device, steps: int) -> None:
        self.device = device
        self.steps = steps
        self.ends: list[float] = []

    def step(self) -> None:
        if self.device.type == "cuda" and len(self.ends) + 1 in (WARM, self.steps):
            torch.cuda.synchronize(self.device)
        self.ends.append(time.perf_counter())

    def seconds(self) -> float:
        """Of all counted steps; they begin when the last uncounted one ends."""
        assert len(self.ends) == self.steps
        return self.ends[-1] - self.ends[WARM - 1]


class LightningClock(Clock, Callback):
    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        self.step()


class TrainerClock(Clock, TrainerCallback):
    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self.step()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = benchmarking.parser(__doc__)
    parser.set_defaults(repeats=9)
    benchmarking.run(parser.parse_args(arguments), "texts", measure, grid)


def measure(args: Namespace) -> dict[str, Any]:
    started = time.time()
    building.hush_lightning()
    cuda = args.device.type == "cuda"
    args.batch, args.steps = (2, 4) if args.quick else (32, 60) if cuda else (32, 12)
    args.sizes = {"width": 384, "layers": 3, "heads": 12, "ffn": 1536}
    if cuda:
        args.sizes = {"width": 768, "layers": 12, "heads": 12, "ffn": 3072}
    if args.quick:
        args.sizes = {"width": 8, "layers": 2, "heads": 2, "ffn": 16}
    args.shorter = 1 if cuda else 4
    names = benchmarking.selected(["steps", "epoch"], str, args)
    cases = (measure_case(name, args) for name in benchmarking.progress(names, "cases"))
    settings = {"batch": args.batch, "steps": args.steps - WARM, "shorter": args.shorter, **args.sizes}
    return benchmarking.gather("texts", args, started, settings, cases, marks)


def lengths_of(name: str, args: Namespace) -> Int64[Tensor, "n"]:
    """In tokens, with [CLS] and [SEP]."""
    number = args.batch * args.steps
    if name == "steps":
        return torch.full((number,), MOST // args.shorter // 4)
    drawn = torch.randn(number, generator=torch.Generator().manual_seed(0)).mul(SPREAD).exp() * MEDIAN
    return (drawn.clamp(8, MOST) / args.shorter).round().long()


def measure_case(name: str, args: Namespace) -> dict[str, Any]:
    data = RandomTexts(lengths_of(name, args), args.batch)
    precision = "bf16-mixed" if args.device.type == "cuda" else "32-true"
    with tempfile.TemporaryDirectory() as folder:
        composed = compose(
            [
                *("experiment=movie_reviews_ko", "model.path=null", "model.weights=null", "data.tokenizer=unused"),
                *(f"model.{key}={value}" for key, value in args.sizes.items()),
                *(f"data.batch_size={args.batch}", "trainer.max_epochs=1", f"trainer.precision={precision}"),
                *(f"trainer.accelerator={'gpu' if args.device.type == 'cuda' else 'cpu'}", "resume=never"),
                f"runs_dir={folder}",
            ]
        )
        items = Items(data.training)
        loops: dict[str, Callable[[], Clock]] = {
            "kiti": lambda: of_kiti(composed, data, args),
            "Trainer": lambda: of_trainer(composed, items, args, Path(folder)),
        }
        rounds: dict[str, list[list[float]]] = {loop: [] for loop in loops}
        order = list(loops)
        for _ in range(args.repeats):
            for loop in order:
                rounds[loop].append([loops[loop]().seconds()])
            order.reverse()
    timings = {loop: Timing(seconds) for loop, seconds in rounds.items()}
    faster = paired_ratio(timings["Trainer"], timings["kiti"])
    loader = data.train_dataloader()
    tokens = sum(int(batch[1].sum()) for batch in loader.batches(0, 0))
    padded = {"kiti": sum(batch[0].numel() for batch in loader.batches(0, 0)), "Trainer": padded_by_chance(data, args)}
    rows = [{"loop": loop, **timings[loop].summary(), "padding": 1 - tokens / padded[loop]} for loop in loops]
    return {
        "case": name,
        "precision": "bfloat16 autocast" if args.device.type == "cuda" else "float32",
        "loops": rows,
        "faster": None if math.isnan(faster.ratio) else faster.ratio,
        "lowest": None if math.isnan(faster.lowest) else faster.lowest,
        "highest": None if math.isnan(faster.highest) else faster.highest,
    }


def of_kiti(composed: Composed, data: RandomTexts, args: Namespace) -> Clock:
    clock = LightningClock(args.device, args.steps)
    trainer = building.trainer(composed)
    trainer.callbacks.append(clock)  # type: ignore[attr-defined]
    trainer.fit(building.task(composed), data)
    return clock


def of_trainer(composed: Composed, items: Items, args: Namespace, folder: Path) -> Clock:
    sizes = args.sizes
    model = BertForSequenceClassification(
        BertConfig(
            vocab_size=VOCABULARY,
            hidden_size=sizes["width"],
            num_hidden_layers=sizes["layers"],
            num_attention_heads=sizes["heads"],
            intermediate_size=sizes["ffn"],
        )
    )
    model.load_state_dict(building.model(composed).state_dict())
    arguments = TrainingArguments(
        output_dir=str(folder / "trainer"),
        per_device_train_batch_size=args.batch,
        num_train_epochs=1,
        learning_rate=2e-5,
        weight_decay=0.01,
        max_grad_norm=0.0,
        bf16=args.device.type == "cuda",
        use_cpu=args.device.type == "cpu",
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    clock = TrainerClock(args.device, args.steps)
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=items,
        data_collator=DataCollatorWithPadding(padding_tokenizer()),
        callbacks=[clock],
    )
    trainer.train()
    return clock


def padding_tokenizer() -> PreTrainedTokenizerFast:
    """What the collator pads with; it tokenises nothing."""
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"[PAD]": 0})), pad_token="[PAD]")


def padded_by_chance(data: RandomTexts, args: Namespace) -> int:
    """Tokens of an epoch in shuffled batches, each padded to its longest item."""
    lengths = data.training.lengths
    shuffled = lengths[torch.randperm(len(lengths), generator=torch.Generator().manual_seed(0))]
    return int(shuffled.view(-1, args.batch).amax(1).sum()) * args.batch


def marks(cases: Sequence[dict[str, Any]]) -> list[Mark]:
    """The marks of issue 21."""
    faster = {case["case"]: case["faster"] for case in cases}
    return [
        judge("a step at least 0.98 times as fast as Trainer's", [("steps", faster.get("steps"))], at_least=LEAST_STEP),
        judge(
            "an epoch at least 1.3 times as fast as Trainer's", [("epoch", faster.get("epoch"))], at_least=LEAST_EPOCH
        ),
    ]


def grid(record: dict[str, Any]) -> Grid:
    """A line for each case and loop."""
    settings = record["settings"]
    lines = []
    for case in record["cases"]:
        for row in case["loops"]:
            known = row["loop"] == "kiti" and case["faster"] is not None
            interval = f" [{case['lowest']:.3f}, {case['highest']:.3f}]" if known and case["lowest"] is not None else ""
            lines.append(
                [
                    case["case"],
                    case["precision"],
                    row["loop"],
                    timing_text(row),
                    f"{100 * row['padding']:.0f} %",
                    f"{case['faster']:.3f}{interval}" if known else NOTHING,
                ]
            )
    header = ["case", "precision", "loop", "ms", "padding", "times as fast as Trainer"]
    notes = [
        f"{settings['steps']} steps of {settings['batch']} texts a round, rounds in turns; ms: of all steps of a "
        "round, median (least…most); times as fast: Trainer's seconds over kiti's within a round, median and 95 % "
        "interval",
        f"BERT of {settings['layers']} layers, {settings['width']} wide; AdamW; steps: texts of "
        f"{MOST // settings['shorter'] // 4} tokens; epoch: lengths like IMDb's, median "
        f"{MEDIAN // settings['shorter']}, at most {MOST // settings['shorter']}"
        + (f", 1/{settings['shorter']} of BERT's" if settings["shorter"] > 1 else ""),
        "kiti: Lightning's trainer as a run has it, similar lengths in a batch; Trainer: its default sampling and "
        "optimizer, without clipping, with DataCollatorWithPadding",
        benchmarking.provenance(record),
    ]
    return Grid(
        f"Fine-tuning a BERT in kiti's loop and in transformers' Trainer, {record['device']}", header, lines, notes
    )


if __name__ == "__main__":
    main()
