"""Measures for which collision_heads and coll_coef about one pair a system collides.

May import `residual`.
"""
