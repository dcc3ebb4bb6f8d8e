"""Tables and figures, built from records.

May import `storage` and `configuration`, which builds a model where only that shows whether a run is possible.
"""
