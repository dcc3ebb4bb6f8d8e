"""Tables and figures, built from records.

May import `storage` and `configuration`.
"""
