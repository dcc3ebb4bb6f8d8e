"""Texts and pairs of texts with a label: read from files or the Hugging Face hub, checked, tokenised once, and served
in batches of similar length."""
