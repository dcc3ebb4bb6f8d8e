"""Commits for the experiments whose files on the hub need one; nothing is read."""

_ZEROS = "0" * 40
_TEXTS = (f"model.commit={_ZEROS}", f"data.commit={_ZEROS}")
_MIXTURE = tuple(f"data.corpora.{name}.commit={_ZEROS}" for name in ("fineweb_edu", "megamath", "opencoder"))
_MATHEMATICS = (f"model.commit={_ZEROS}", f"data.corpora.open_web_math.commit={_ZEROS}")
_WEB = (f"data.corpora.fineweb_edu.commit={_ZEROS}", f"data.tokenizer_commit={_ZEROS}")
COMMITS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("bert_imdb", "bert_snli", "imdb_ko", "snips_ko"), _TEXTS),
    **dict.fromkeys((f"gpt2_{size}pretrain" for size in ("", "medium_", "large_", "xl_")), _MIXTURE),
    **dict.fromkeys((f"gpt2_{size}continue" for size in ("", "medium_", "large_", "xl_")), _MATHEMATICS),
    **dict.fromkeys(("qwen2_pretrain", "qwen2_1_5b_pretrain"), _WEB),
}
"""By experiment: the overrides that give them."""
