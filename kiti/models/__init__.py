"""One file a family: a stock model with its seam opened, or a small network of the papers.

May import `residual` and `collision`.
"""
