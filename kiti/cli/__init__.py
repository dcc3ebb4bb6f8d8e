"""The commands, each a thin module.

May import everything.
"""
