"""The physics of KITINet's Algorithm 1 as pure functions on tensors."""

from kiti.collision.dispatch import IMPLEMENTATIONS, collide, collide_with_statistics, pick
from kiti.collision.statistics import Collisions

__all__ = ["IMPLEMENTATIONS", "Collisions", "collide", "collide_with_statistics", "pick"]
