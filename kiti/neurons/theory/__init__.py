"""Simulations of both papers' theorems.

May import `collision` and `ko`.
"""
