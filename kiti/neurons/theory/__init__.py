"""What both papers' theorems say, simulated.

May import `collision` and `ko`.
"""
