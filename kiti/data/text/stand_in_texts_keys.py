"""The keys of `data=movie_reviews`, `data=pubmedqa`, `data=boolq` and `data=home_intents`."""

from typing import Literal

from pydantic import model_validator

from kiti.data import DataError
from kiti.data.text.stand_in_files import STAND_INS, missing
from kiti.data.text.text_keys import TextKeys


class StandInTextsKeys(TextKeys):
    builds = "kiti.data.text.stand_in_texts.StandInTexts"
    name = "stand_in_texts"
    set: Literal["movie_reviews", "pubmedqa", "boolq", "home_intents"]

    @property
    def rows(self) -> dict[str, int]:
        return STAND_INS[self.set].rows

    @property
    def pairs(self) -> bool:
        return len(STAND_INS[self.set].columns) > 2

    @model_validator(mode="after")
    def _has_its_classes(self) -> "StandInTextsKeys":
        if self.classes != (number := len(STAND_INS[self.set].classes)):
            raise ValueError(f"classes={self.classes}: {self.set} has {number} classes; choose data.classes={number}")
        return self

    def require(self) -> None:
        if line := missing(self.data_dir, self.set):
            raise DataError(line)
