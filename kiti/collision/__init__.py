"""Algorithm 1 as functions on tensors: the literal form, the reference, and the fused forms of `cpu/` and `gpu/`.

Imports nothing else of kiti.
"""
