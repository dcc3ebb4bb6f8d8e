"""From overrides to one checked configuration and its hash; nothing here imports torch.

May import `kiti.data` for its errors, `kiti.collision.rules` and `kiti.storage`.
"""
