"""Finished runs as weights of the stock libraries, with a model card.

May import everything but `report`, `launching` and `cli`.
"""
