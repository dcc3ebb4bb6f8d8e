"""The collision as Triton kernels on a CUDA GPU.

May import `kiti.collision`.
"""
