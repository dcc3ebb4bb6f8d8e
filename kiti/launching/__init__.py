"""Starts the runs that a table lacks, and shows their progress.

May import `storage`, `configuration` and `report`.
"""
