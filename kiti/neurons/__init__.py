"""How alike the neurons of a layer are, and what both papers' theorems say.

May import `collision` and `ko`.
"""
