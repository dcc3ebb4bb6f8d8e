"""The collision as compiled loops on the CPU (numba).

May import `kiti.collision`.
"""
