"""Language models on benchmarks' items: multiple choice by lm-evaluation-harness, perplexity of correct answers.

Here is what loads the items, scores them, keeps a result for each and compares two models item by item. Only this
package imports lm-eval, the extra `evaluation`.

May import `data`, `models` and `storage`. The model and its tokenizer are given to it.
"""
