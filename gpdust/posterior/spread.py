"""The spread of q(v) around its mean: a square root of its covariance, or draws."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class FullSpread:
    """A square root of the covariance.

    Attributes
    ----------
    scale : Tensor, shape (M, M)
        v = mean + scale ε.
    """

    scale: torch.Tensor

    def draw(self, count: int, seed: int) -> torch.Tensor:
        """Offsets from the mean, shape (count, M); the first ones do not depend on how many follow."""
        noise = np.random.default_rng([seed, 0]).standard_normal((count, self.scale.shape[-1]))
        return torch.from_numpy(noise) @ self.scale.mT

    def tensors(self) -> dict[str, torch.Tensor]:
        """What to store."""
        return {"scale": self.scale}


@dataclass(frozen=True)
class DrawnSpread:
    """Draws of q, in mirrored pairs.

    Attributes
    ----------
    draws : Tensor, shape (pairs, M)
        v = mean ± draw.
    """

    draws: torch.Tensor

    def draw(self, count: int, seed: int) -> torch.Tensor:
        """Offsets from the mean, shape (count, M).

        Up to twice the number of pairs these are the draws themselves, whatever the seed. If more are asked for, all
        are random combinations of them, with the covariance that the draws have among themselves, widened draw by draw
        as Student's t is for a spread known from few draws: percentiles then hold as much as they say.
        """
        pairs = len(self.draws)
        if count <= 2 * pairs:
            return torch.stack([self.draws, -self.draws], dim=1).flatten(0, 1)[:count]
        noise = np.random.default_rng([seed, 0]).standard_normal((count, pairs))
        noise /= np.sqrt(np.random.default_rng([seed, 1]).chisquare(pairs, (count, 1)))
        return torch.from_numpy(noise) @ self.draws

    def tensors(self) -> dict[str, torch.Tensor]:
        """What to store."""
        return {"draws": self.draws}


Spread = FullSpread | DrawnSpread


def spread_from_tensors(tensors: dict[str, torch.Tensor]) -> Spread:
    """Build a spread from what `tensors` returned."""
    return FullSpread(tensors["scale"]) if "scale" in tensors else DrawnSpread(tensors["draws"])
