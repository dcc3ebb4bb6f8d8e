"""One file per family: a stock model with its seam opened, or a small network from the papers.

May import `seams`, `residual` and `collision`.
"""
