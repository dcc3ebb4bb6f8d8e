"""Corpora for language models: documents read from files or streamed from the Hugging Face hub, tokenised once into
memory-mapped shards, mixed by weight, and served in blocks of a fixed number of tokens; what counting n-grams predicts
of them, as a baseline; and what the stand-ins for corpora and benchmarks are."""
