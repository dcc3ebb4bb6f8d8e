"""What is known of IMDb, SNLI and Snips without reading them."""

from collections.abc import Iterable
from typing import NamedTuple

from kiti.data.text.stand_in_files import FETCH
from kiti.data.text.text_rows import Classes


class PublishedSet(NamedTuple):
    """A set on the Hugging Face hub.

    Attributes:
        title: how messages name it.
        rows: labelled rows for training, validation and testing; 0: it has no such split.
        names: of its classes, in the order of their numbers.
        unlabelled: labels of rows without agreement, which are dropped.
        instead: the stand-ins where it is out of reach.
    """

    title: str
    rows: dict[str, int]
    names: tuple[str, ...]
    unlabelled: tuple[int | str, ...] = ()
    instead: str = ""

    @property
    def splits(self) -> list[str]:
        return [split for split, rows in self.rows.items() if rows]

    def classes(self, number: int) -> Classes:
        """How labels are written, if the configuration says that there are `number` classes."""
        return Classes(number, self.names if number == len(self.names) else (), self.unlabelled)


PUBLISHED = {
    "imdb": PublishedSet(
        "IMDb", {"train": 25_000, "validation": 0, "test": 25_000}, ("neg", "pos"), instead="data=movie_reviews"
    ),
    # 550,152, 10,000 and 10,000 rows; of 785, 158 and 176 the annotators disagree.
    "snli": PublishedSet(
        "SNLI",
        {"train": 549_367, "validation": 9_842, "test": 9_824},
        ("entailment", "neutral", "contradiction"),
        unlabelled=(-1, "-1", "-"),
        instead="data=pubmedqa or data=boolq",
    ),
    # The copies on the hub have one set of 1,400 for testing: the usual 700 for validation and 700 for testing.
    "snips": PublishedSet(
        "Snips",
        {"train": 13_084, "validation": 0, "test": 1_400},
        (
            "AddToPlaylist",
            "BookRestaurant",
            "GetWeather",
            "PlayMusic",
            "RateBook",
            "SearchCreativeWork",
            "SearchScreeningEvent",
        ),
        instead="data=home_intents",
    ),
}


def unavailable(set: str, repository: str, commit: str | None, columns: Iterable[str | None], reason: object) -> str:
    """One line: the set is neither here nor on the hub; which files would do, where they may lie, and the stand-ins."""
    known = PUBLISHED[set]
    files = " and ".join(f"{split}.parquet" for split in ("train", "test"))
    listed = ", ".join(name for name in columns if name)
    return (
        f"{known.title} ({repository} at {str(commit)[:12]}): {reason}; give data.path=<folder> with {files} "
        f"(or .jsonl or .csv; columns {listed}), or take the stand-in {known.instead} from {FETCH}"
    )
