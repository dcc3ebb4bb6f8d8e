"""Measures how alike the neurons of a layer are, and simulates the theorems of both papers.

May import `collision` and `ko`.
"""
