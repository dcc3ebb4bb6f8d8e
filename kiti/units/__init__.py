"""What a data set, model, task or residual kind declares about itself, and how a configuration finds it.

May import nothing else of kiti; the declarations, `*_keys.py`, stand beside what they declare.
"""
