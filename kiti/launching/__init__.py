"""Starts a table's missing runs and shows their progress.

May import `storage`, `configuration` and `report`.
"""
