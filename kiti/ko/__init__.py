"""KO: the gradients of neurons collide before an optimizer's step.

May import `collision`.
"""

from kiti.ko.gradient_collisions import hard_collision, soft_collision
from kiti.ko.optimizer import KO
from kiti.ko.selection import Matrices, matrices, select

__all__ = ["KO", "Matrices", "hard_collision", "matrices", "select", "soft_collision"]
