"""Small corpora and a tokenizer in place of what the experiments of language models read."""

from pathlib import Path

from language_cases import texts, tokenizer_folder, write_jsonl

CORPORA = {
    "language_stand_ins": ("python_manual", "set_mm", "standard_library"),
    "python_manual": ("python_manual",),
    "set_mm": ("set_mm",),
}
DATA = {
    "gpt2_pretrain": "language_stand_ins",
    "gpt2_medium_pretrain": "language_stand_ins",
    "gpt2_large_pretrain": "language_stand_ins",
    "gpt2_xl_pretrain": "language_stand_ins",
    "gpt2_stand_ins": "language_stand_ins",
    "gpt2_continue": "set_mm",
    "gpt2_medium_continue": "set_mm",
    "gpt2_large_continue": "set_mm",
    "gpt2_xl_continue": "set_mm",
    "gpt2_set_mm": "set_mm",
    "qwen2_pretrain": "python_manual",
    "qwen2_1_5b_pretrain": "python_manual",
    "qwen2_stand_ins": "python_manual",
}
"""By experiment: the option of `data` whose files are written here."""
PIECES = 300


def prepared(experiment: str, folder: Path) -> list[str]:
    """Write them; returns the overrides that name them, for an untrained model."""
    option = DATA[experiment]
    tokenizer = tokenizer_folder(folder / "tokenizer", pieces=PIECES)
    names = CORPORA[option]
    for seed, name in enumerate(names):
        write_jsonl(folder / "corpora" / f"{name}.jsonl", texts(300, seed))
    paths = [f"data.corpora.{name}.path={folder / 'corpora' / name}.jsonl" for name in names]
    return [
        f"data={option}",
        *paths,
        f"data.tokenizer={tokenizer}",
        f"data.data_dir={folder / 'data'}",
        f"model.vocab_size={PIECES}",
        "model.path=null",
        "model.commit=null",
        "model.from_run=null",
    ]
