"""Where a training diverged."""

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

_NAMED = 5  # samples in a message


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Divergence:
    """The first batch at which `what`, for example the training loss, was not finite.

    `step` is the number of the optimizer's steps before it, `epoch` and `batch` count from 0, the latter within the
    epoch. `samples` are the numbers of the batch's samples in the training set, of all ranks; None: not known.
    """

    what: str
    step: int
    epoch: int
    batch: int
    samples: list[int] | None = None

    def __str__(self) -> str:
        where = f"{self.what} was not finite at step {self.step}, epoch {self.epoch}, batch {self.batch}"
        if not self.samples:
            return where
        more = f" and {len(self.samples) - _NAMED} more" if len(self.samples) > _NAMED else ""
        return f"{where} (samples {', '.join(map(str, self.samples[:_NAMED]))}{more})"
