"""Tables and figures, made from records.

May import `storage` and `configuration`.
"""
