"""Processes that train together, one per core, and what they tell each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, distributed


@dataclass(frozen=True, slots=True)
class Group:
    """The place of this process among those that train together; without others every exchange does nothing."""

    rank: int = 0
    size: int = 1

    def average_all(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its mean over the processes."""
        self.sum_all(tensors)
        if self.size > 1:
            torch._foreach_div_(list(tensors), self.size)

    def sum_all(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over the processes, in one exchange."""
        if self.size == 1 or not tensors:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        distributed.all_reduce(flat)
        for tensor, total in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(total.view_as(tensor))

    def copy_first(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by the first process' one."""
        if self.size > 1:
            for tensor in tensors:
                distributed.broadcast(tensor, 0)


def join(rank: int, size: int, meeting_point: str) -> Group:
    """Return this process' place among `size` processes that meet through a file not there yet."""
    if size > 1:
        distributed.init_process_group("gloo", init_method=f"file://{meeting_point}", rank=rank, world_size=size)
    return Group(rank, size)


def leave(group: Group) -> None:
    """Wait for all processes and end the exchange; one that leaves while another still talks makes that one abort."""
    if group.size > 1:
        distributed.barrier()
        distributed.destroy_process_group()
