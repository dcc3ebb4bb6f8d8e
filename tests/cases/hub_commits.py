"""Commits for the experiments whose files on the hub need one; nothing is read."""

ON_HUB = {"bert_imdb", "bert_snli", "imdb_ko", "snips_ko"}
COMMITS = (f"model.commit={'0' * 40}", f"data.commit={'0' * 40}")
