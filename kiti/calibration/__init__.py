"""Measures for which collision_heads and coll_coef about one pair per system collides.

May import `seams` and `residual`.
"""
