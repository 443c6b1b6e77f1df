"""Trilinear interpolation from the nodes of a periodic box to points, with its exact adjoint."""

from __future__ import annotations

import warnings
from functools import cached_property

import numpy as np
import torch
from scipy import sparse

from gpdust.errors import GridError
from gpdust.prior.box import PeriodicBox

_CORNERS = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])


class Interpolation:
    """A sparse matrix of eight entries a row, and its transpose, so that both directions read memory in order.

    Parameters
    ----------
    box : PeriodicBox
    points : Tensor, shape (points, 3)
        pc; within the box.

    Raises
    ------
    GridError
        If a point lies outside the box, where the periodic field means nothing.
    """

    def __init__(self, box: PeriodicBox, points: torch.Tensor) -> None:
        self.box, self.points = box, points
        position = (points.numpy() - np.array(box.origin)) / np.array(box.spacing)
        shape = np.array(box.shape)
        outside = ((position < 0) | (position > shape)).any(-1)
        if outside.any():
            first = np.flatnonzero(outside)[0]
            raise GridError(
                f"{outside.sum()} of {len(points)} points lie outside the box of the prior, the first at "
                f"{np.round(points[first].numpy(), 1).tolist()} pc. Fit on a grid that holds them."
            )
        node = np.floor(position).astype(np.int64)
        fraction = (position - node)[:, None, :]
        corner = (node[:, None, :] + _CORNERS) % shape
        index = (corner[..., 0] * shape[1] + corner[..., 1]) * shape[2] + corner[..., 2]
        share = np.where(_CORNERS == 1, fraction, 1 - fraction)
        matrix = sparse.csr_matrix(
            (share.prod(-1).ravel(), index.ravel(), np.arange(0, 8 * len(points) + 1, 8)),
            shape=(len(points), box.n_nodes),
        )
        self._sparse, self._matrix = matrix, _to_torch(matrix)

    def __len__(self) -> int:
        return self._sparse.shape[0]

    @cached_property
    def _transpose(self) -> torch.Tensor:
        return _to_torch(self._sparse.T.tocsr())

    def __call__(self, field: torch.Tensor) -> torch.Tensor:
        """Values at the points: (..., nodes) to (..., points); differentiable."""
        return _Interpolate.apply(field, self)

    def adjoint(self, values: torch.Tensor) -> torch.Tensor:
        """Adjoint of the interpolation: (..., points) to (..., nodes)."""
        return _rows(self._transpose, values)

    def forward(self, field: torch.Tensor) -> torch.Tensor:
        """Values at the points, without a gradient."""
        return _rows(self._matrix, field)

    def rows(self, which: slice) -> torch.Tensor:
        """The matrix at some of the points, not sparse, shape (of them, nodes)."""
        node = self._matrix.col_indices().unflatten(0, (-1, 8))[which].long()
        share = self._matrix.values().unflatten(0, (-1, 8))[which]
        return share.new_zeros(len(node), self.box.n_nodes).scatter_add_(1, node, share)


class _Interpolate(torch.autograd.Function):
    @staticmethod
    def forward(ctx, field: torch.Tensor, interpolation: Interpolation) -> torch.Tensor:
        ctx.interpolation = interpolation
        return interpolation.forward(field)

    @staticmethod
    def backward(ctx, cotangent: torch.Tensor) -> tuple[torch.Tensor, None]:
        return ctx.interpolation.adjoint(cotangent), None


def _to_torch(matrix: sparse.csr_matrix) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse ")  # CSR is in beta, and its invariants go unchecked
        return torch.sparse_csr_tensor(
            torch.from_numpy(matrix.indptr.astype(np.int32)),
            torch.from_numpy(matrix.indices.astype(np.int32)),
            torch.from_numpy(matrix.data),
            matrix.shape,
        )


def _rows(matrix: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """The matrix times each row of a batch."""
    if values.ndim == 1:
        return matrix @ values
    flat = values.reshape(-1, values.shape[-1])
    return torch.stack([matrix @ row for row in flat]).reshape(*values.shape[:-1], -1)
