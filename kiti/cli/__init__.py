"""The commands, one thin module each.

May import everything.
"""
