"""How a run is built, trained and recorded.

May import everything but `report`, `launching` and `cli`.
"""
