"""Which collision_heads and coll_coef make about one pair a system collide, measured on features.

May import `residual`.
"""
