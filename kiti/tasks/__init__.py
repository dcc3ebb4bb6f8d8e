"""One LightningModule a kind of learning.

May import `models`, `data`, `ko`, `neurons` and `residual`.
"""
