"""One LightningModule for each kind of learning.

May import `models`, `data`, `ko`, `neurons`, `residual` and `storage`.
"""
