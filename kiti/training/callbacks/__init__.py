"""What Lightning calls while a run trains: checkpoints, costs, monitors.

May import everything but `report`, `launching` and `cli`.
"""
