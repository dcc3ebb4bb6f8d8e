"""Texts for language models: corpora, their documents and tokens, and a baseline on counts of n-grams."""
