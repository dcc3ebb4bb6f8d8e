"""Lightning callbacks: checkpoints, costs, monitors.

May import everything but `report`, `launching` and `cli`.
"""
