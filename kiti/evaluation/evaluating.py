"""`evaluate_model`: a language model on prepared tasks, at any time, also in the middle of its training."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from kiti.data import DataError
from kiti.evaluation import answer_tasks, choice_tasks
from kiti.evaluation.answer_scores import score_answers, split_answer
from kiti.evaluation.answer_tasks import AnswerTask
from kiti.evaluation.choice_tasks import ChoiceTask
from kiti.evaluation.harness_model import HarnessModel
from kiti.evaluation.kept_results import TaskResult
from kiti.evaluation.known_tasks import answer_set, require_known
from kiti.evaluation.task_data import Sources
from kiti.evaluation.task_results import of_answers, of_choices
from kiti.evaluation.undisturbed import undisturbed


@dataclass(frozen=True)
class Tasks:
    """Tasks whose items have been read, in the order asked for."""

    names: list[str]
    choices: list[ChoiceTask]
    answers: list[AnswerTask]
    limit: int | None


def prepare(tasks: Sequence[str], sources: Sources, limit: int | None = None) -> Tasks:
    """Read the items of the tasks; no model is needed.

    Args:
        tasks: names (`kiti.evaluation.known_tasks`).
        sources: where the items are.
        limit: at most so many items of each task, always the same ones.

    Raises:
        DataError: a task is unknown, or its items are out of reach or not of its form; one line.
    """
    require_known(tasks, sources.data_dir)
    of_choice = [task for task in tasks if answer_set(task) is None]
    answers = [answer_tasks.load(task, sources, limit) for task in tasks if answer_set(task) is not None]
    choices = choice_tasks.load(of_choice, sources, limit) if of_choice else []
    return Tasks(list(tasks), choices, answers, limit)


def evaluate_model(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    tasks: Tasks,
    *,
    batch_size: int = 16,
    context: int | None = None,
    progress: bool = False,
) -> list[TaskResult]:
    """Scores `model` zero-shot on every item, and leaves it, the tokenizer and all random numbers as they were.

    Scores are computed in the precision of the weights and added up in float32; collisions are off, as always in eval
    mode. Neither the batch size nor padding matters, up to rounding.

    Args:
        model: a causal language model of transformers.
        tokenizer: its tokenizer.
        tasks: from `prepare`.
        batch_size: texts at a time.
        context: tokens that the model reads at most; by default as many as it has positions.
        progress: show bars on stderr.

    Returns:
        A result for each task, in their order.

    Raises:
        DataError: the tokenizer has ids that the model has no embedding for.
    """
    longest = context or int(model.config.max_position_embeddings)
    _require_fit(model, tokenizer)
    measured = {"batch_size": batch_size, "context": longest, "dtype": str(model.dtype).removeprefix("torch.")}
    found: dict[str, TaskResult] = {}
    with undisturbed(model):
        if tasks.choices:
            harness = HarnessModel(model, tokenizer, batch_size, longest, progress)
            scored = choice_tasks.scores(tasks.choices, harness, progress)
            found |= {one.name: of_choices(one, scored[one.name], tasks.limit, measured) for one in tasks.choices}
        for one in tasks.answers:
            pairs = [split_answer(tokenizer, item.prompt, item.answer) for item in one.items]
            scores = score_answers(model, pairs, batch_size, longest)
            found[one.name] = of_answers(one, scores, tasks.limit, measured)
    return [found[name] for name in tasks.names]


def _require_fit(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    embedding: Any = model.get_input_embeddings()
    largest, rows = max(tokenizer.get_vocab().values()), embedding.num_embeddings
    if largest >= rows:
        raise DataError(
            f"the tokenizer has ids up to {largest}, but the model's embedding has {rows} rows; give the tokenizer of "
            "the model"
        )
