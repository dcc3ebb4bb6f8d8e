"""A small chain."""

SMALL = {"d_in": 5, "width": 6, "depth": 2, "activation": "tanh", "init_std": 0.3, "shortcut": True, "seams": 1}
