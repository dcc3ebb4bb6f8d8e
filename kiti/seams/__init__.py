"""Where a model adds x + v, and how a residual takes the place of that addition.

May import `residual`, `ko` and `collision`.
"""
