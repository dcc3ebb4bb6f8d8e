"""What a data set, model, task or residual kind declares about itself, and how a configuration finds it.

May import nothing else from kiti; the declarations, `*_keys.py`, are beside what they declare.
"""
