"""Algorithm 1 as functions on tensors: the literal form, which decides, and the fused forms of `cpu/` and `gpu/`.

Imports nothing else of kiti.
"""
