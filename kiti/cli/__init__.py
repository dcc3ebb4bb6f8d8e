"""The commands, one thin file each.

May import everything.
"""
