"""Evaluates a language model while it trains, without changing how it trains, and when it is trained."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.strategies import FSDPStrategy, ModelParallelStrategy

from kiti.data import DataError
from kiti.evaluation.known_tasks import require_known
from kiti.evaluation.model_folder import tokenizer_in
from kiti.evaluation.task_data import Sources
from kiti.models.pretrained_files import folder_of

if TYPE_CHECKING:
    from kiti.evaluation.kept_results import TaskResult


class BenchmarksDuringTraining(Callback):
    """Logs the metrics of `evaluate_model` every few steps, `benchmarks/<task>/<metric>`: a record has their curves.

    Those of the trained network are metrics of the record, `<task>/<metric>` and, of several multiple-choice tasks,
    `benchmarks/average`, the mean of the accuracies that tables take; the items are beside it, as kiti-eval leaves
    them.

    The first rank evaluates and the others wait. The run ends on the bits of one without this callback.

    Args:
        tasks: names (`kiti.evaluation.known_tasks`); none switches it off.
        every_steps: steps of the optimizer between two evaluations; None: only when it is trained.
        limit: at most so many items of each task, always the same; None: all.
        batch_size: texts at a time.
        data_dir: the folder with items/, problems/ and hub/.
        commits: those of sets on the hub, by repository.
        tokenizer: the folder of the tokenizer, or a name on the hub with `tokenizer_commit`; None: the data have none.

    Raises:
        DataError: a task is unknown, when this is made; its items are out of reach, before the first step.
        ValueError: the model is not one of transformers, or is divided over ranks.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        every_steps: int | None,
        limit: int | None,
        batch_size: int,
        data_dir: str,
        commits: Mapping[str, str],
        tokenizer: str | None,
        tokenizer_commit: str | None,
    ) -> None:
        if tasks:
            require_known([*tasks], Path(data_dir))
        self.tasks = [*tasks]
        self.every_steps = every_steps
        self.limit = limit
        self.batch_size = batch_size
        self.sources = Sources(Path(data_dir), dict(commits))
        self.tokenizer = (tokenizer, tokenizer_commit)
        self._done = 0  # the step after which was evaluated last
        self._prepared: tuple[Any, Any] | None = None  # tasks and tokenizer, on the first rank

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not self.tasks or stage != "fit":
            return
        from transformers import PreTrainedModel

        from kiti.evaluation.evaluating import prepare  # with lm-eval, which other runs need not have

        path, commit = self.tokenizer
        if path is None or not isinstance(pl_module.get_submodule("model"), PreTrainedModel):
            raise DataError("callbacks.benchmarks.tasks: only language models of transformers are evaluated on items")
        if isinstance(trainer.strategy, FSDPStrategy | ModelParallelStrategy):
            raise DataError(
                "callbacks.benchmarks.tasks: a model divided over ranks is evaluated after training, by kiti-eval"
            )
        if trainer.is_global_zero:
            tokenizer = tokenizer_in(folder_of(path, commit, "data.tokenizer"))
            self._prepared = prepare(self.tasks, self.sources, self.limit), tokenizer

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *batch: Any) -> None:
        step = trainer.global_step
        if not self.tasks or self.every_steps is None or step == self._done or step % self.every_steps:
            return
        self._done = step
        if self._prepared is not None:
            results = self._evaluate(trainer, pl_module)
            found = {f"benchmarks/{name}": value for result in results for name, value in result.metrics.items()}
            # Not pl_module.log, which leaves out steps between two of log_every_n_steps.
            for logger in trainer.loggers:
                logger.log_metrics(found, step=step)
        trainer.strategy.barrier("benchmarks")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Of the trained network: its metrics go to the record, its items beside it."""
        if not self.tasks:
            return
        if self._prepared is not None:
            from kiti.evaluation.kept_results import keep

            results = self._evaluate(trainer, pl_module)
            of_run: dict[str, float] = pl_module.of_replica[0]  # type: ignore[index, assignment]
            of_run |= {name: value for result in results for name, value in result.metrics.items()}
            if len(results) > 1 and all(result.record["kind"] == "multiple_choice" for result in results):
                taken = [result.metrics[f"{result.task}/{result.record['taken']}"] for result in results]
                of_run["benchmarks/average"] = sum(taken) / len(taken)
            keep(results, Path(trainer.default_root_dir), {"time": datetime.now(UTC).isoformat(timespec="seconds")})
        trainer.strategy.barrier("benchmarks")

    def _evaluate(self, trainer: Trainer, pl_module: LightningModule) -> "list[TaskResult]":
        from kiti.evaluation.evaluating import evaluate_model

        assert self._prepared is not None
        tasks, tokenizer = self._prepared
        model: Any = pl_module.get_submodule("model")
        return evaluate_model(model, tokenizer, tasks, batch_size=self.batch_size, context=_context(trainer))

    def state_dict(self) -> dict[str, Any]:
        return {"done": self._done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._done = state["done"]


def _context(trainer: Trainer) -> int | None:
    """The tokens that the model is trained on at once."""
    data: Any = getattr(trainer, "datamodule", None)
    return getattr(data, "context", None)
