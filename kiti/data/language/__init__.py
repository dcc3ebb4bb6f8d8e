"""Corpora for language models: documents read from files or streamed from the Hugging Face hub, tokenised once into
memory-mapped shards, mixed by weight, and served in blocks of a fixed number of tokens."""
