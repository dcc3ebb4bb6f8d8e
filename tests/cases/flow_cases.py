"""Shared by the flow tests: states of the gas on a mesh."""

import torch

from kiti.pde.ideal_gas import free_stream, to_conserved


def streams(machs, degrees):
    return free_stream(torch.tensor(machs, dtype=torch.float64), torch.tensor(degrees, dtype=torch.float64))


def from_stream(mesh, stream):
    return to_conserved(stream)[:, None].expand(-1, len(mesh.triangles), -1)


def within(state):
    """(batch, cells, 4) to the solver's layout (4, cells, batch)."""
    return state.permute(2, 1, 0).contiguous()


def content(mesh, state):
    return (state * mesh.areas[:, None]).sum(-2)
