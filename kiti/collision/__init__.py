"""The physics of KITINet's Algorithm 1 as pure functions on tensors."""

from kiti.collision.dispatch import IMPLEMENTATIONS, Collisions, collide, collide_with_statistics

__all__ = ["IMPLEMENTATIONS", "Collisions", "collide", "collide_with_statistics"]
