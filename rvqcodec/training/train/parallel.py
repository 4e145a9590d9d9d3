"""Data-parallel training on CPU cores: collective operations among processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, distributed


@dataclass(frozen=True, slots=True)
class Group:
    """A process group: rank and size; with a single process every collective is a no-op."""

    rank: int = 0
    size: int = 1

    def average_all(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its mean over the processes."""
        self.sum_all(tensors)
        if self.size > 1:
            torch._foreach_div_(list(tensors), self.size)

    def sum_all(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over the processes, in one all-reduce."""
        if self.size == 1 or not tensors:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        distributed.all_reduce(flat)
        for tensor, total in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(total.view_as(tensor))

    def copy_first(self, tensors: Sequence[Tensor]) -> None:
        """Broadcast each tensor from the first process."""
        if self.size > 1:
            for tensor in tensors:
                distributed.broadcast(tensor, 0)


def join(rank: int, size: int, meeting_point: str) -> Group:
    """Join a group of `size` processes that rendezvous through a file, which must not exist yet."""
    if size > 1:
        distributed.init_process_group("gloo", init_method=f"file://{meeting_point}", rank=rank, world_size=size)
    return Group(rank, size)


def leave(group: Group) -> None:
    """Wait for all processes and leave the group; leaving during a collective would abort the others."""
    if group.size > 1:
        distributed.barrier()
        distributed.destroy_process_group()
