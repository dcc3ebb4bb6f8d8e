"""Solvers that make data.

Imports nothing else of kiti.
"""
