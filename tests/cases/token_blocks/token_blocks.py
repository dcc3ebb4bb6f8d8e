"""A plug-in: blocks of random tokens as data of kind "language", so that whole runs need no files."""

from typing import Any, Literal

from stream_cases import Stream, blocks

from kiti.units.keys import DataKeys, PositiveInt


class TokenBlocks(Stream):
    def __init__(self, sequences: int, documents: str, batch_size: int, seed: int) -> None:
        super().__init__(blocks(sequences, 1), batch_size)
        self.seed = seed

    @property
    def fingerprint(self) -> dict[str, Any]:
        return {"content": "0", "split": {"train": len(self.given[0])}}


class TokenBlocksKeys(DataKeys):
    builds, name, kind = "token_blocks.TokenBlocks", "token_blocks", "language"
    sequences: PositiveInt
    documents: Literal["joined", "isolated"]
