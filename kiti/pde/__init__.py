"""Solvers that generate data.

Imports nothing else from kiti.
"""
