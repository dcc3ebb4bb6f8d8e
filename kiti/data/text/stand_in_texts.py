"""Stand-ins for IMDb, SNLI and Snips, as scripts/fetch_text_stand_ins.py makes them."""

from typing import Any

from kiti.data import DataError
from kiti.data.text.stand_in_files import FETCH, SPLITS, STAND_INS, folder, is_complete, missing
from kiti.data.text.text_data import Source, TextData
from kiti.data.text.text_files import read_file
from kiti.data.text.text_rows import Classes, Columns, checked_rows
from kiti.data.text.tokenised import Splits


class StandInTexts(TextData):
    """A set of `STAND_INS`; arguments as for TextData."""

    def __init__(self, **texts: Any) -> None:
        super().__init__(**texts)
        self.known = STAND_INS[self.set]

    @property
    def stand_in(self) -> str:  # type: ignore[override]
        return self.known.what

    def find(self) -> Source:
        if line := missing(self.data_dir, self.set):
            raise DataError(line)
        text, *pair, label = self.known.columns
        columns = Columns(text, pair[0] if pair else None, label)
        classes = Classes(self.classes)

        def read() -> Splits:
            if not is_complete(self.data_dir, self.set):
                raise DataError(f"{folder(self.data_dir, self.set)} is damaged; delete it and run {FETCH} again")
            paths = {split: folder(self.data_dir, self.set) / f"{split}.parquet" for split in SPLITS}
            return {
                split: checked_rows(read_file(path, columns, classes), columns, classes)
                for split, path in paths.items()
            }

        return Source({"rows": self.known.sha256}, bool(pair), read)
