"""Muon optimiser: momentum orthogonalised by Newton-Schulz-type iterations.

Source: Jordan et al. 2024 (Muon); Amsel et al. 2025 (Polar Express: the polynomials).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from rvqcodec.training.train.parallel import Group

POLYNOMIALS = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
)
SAFETY = 1.01


def orthogonalised(matrix: Tensor) -> Tensor:
    """Return an approximately orthogonalised matrix: most singular values are between 0.4 and 1.6.

    Args:
        matrix: Any matrix [rows, columns]; computed in bfloat16, returned in its own type.
    """
    x: Tensor = matrix.bfloat16()
    tall = x.shape[0] > x.shape[1]
    x = x.T.contiguous() if tall else x
    x = x / (x.float().norm() * SAFETY + 1e-7).to(x.dtype)
    for a, b, c in POLYNOMIALS:
        gram = x @ x.T
        x = (a / SAFETY) * x + ((b / SAFETY**3) * gram + (c / SAFETY**5) * (gram @ gram)) @ x
    return (x.T if tall else x).to(matrix.dtype)


class Muon:
    """Muon for the branches' matrices; the orthogonalisation is distributed over the processes.

    Args:
        parameters: Matrices.
        group: The processes that train together.
        momentum: Nesterov momentum.
    """

    def __init__(self, parameters: Iterable[Tensor], group: Group, momentum: float = 0.95) -> None:
        self.parameters = list(parameters)
        self.group = group
        self.momentum = momentum
        self.moving = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.owners = _load_balanced([_cost(parameter) for parameter in self.parameters], group.size)

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Apply the gradients at this learning rate."""
        updates = []
        for parameter, moving, owner in zip(self.parameters, self.moving, self.owners, strict=True):
            gradient = parameter.grad if parameter.grad is not None else torch.zeros_like(parameter)
            moving.lerp_(gradient, 1 - self.momentum)
            mine = owner == self.group.rank
            ahead = gradient.lerp(moving, self.momentum) if mine else gradient
            updates.append(orthogonalised(ahead) if mine else torch.zeros_like(parameter))
        self.group.sum_all(updates)
        for parameter, update in zip(self.parameters, updates, strict=True):
            rows, columns = parameter.shape
            parameter.add_(update, alpha=-rate * max(1.0, rows / columns) ** 0.5)

    def state_dict(self) -> dict[str, list[Tensor]]:
        """Return the momentum buffers."""
        return {"moving": self.moving}

    def load_state_dict(self, state: dict[str, list[Tensor]]) -> None:
        """Load the momentum buffers."""
        for mine, theirs in zip(self.moving, state["moving"], strict=True):
            mine.copy_(theirs)


def _cost(matrix: Tensor) -> int:
    small, large = sorted(matrix.shape)
    return small * small * large


def _load_balanced(costs: list[int], n_processes: int) -> list[int]:
    """Assign costs to processes greedily, largest first, each to the least loaded; return the process of each."""
    loads, owners = [0] * n_processes, [0] * len(costs)
    for index in sorted(range(len(costs)), key=lambda index: -costs[index]):
        owners[index] = loads.index(min(loads))
        loads[owners[index]] += costs[index]
    return owners
