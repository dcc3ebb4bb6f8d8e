"""Builds, trains and records runs.

May import everything but `report`, `launching` and `cli`.
"""
