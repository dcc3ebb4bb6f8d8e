"""Records and run directories: how results are written and read.

Imports nothing else from kiti.
"""
