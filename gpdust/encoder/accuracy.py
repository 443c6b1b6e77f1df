"""How well a V-net knows the logarithm of the density, by how much the stars know of the extinction."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np
import torch

from gpdust.encoder.scaling import scale_inputs, unscale_density
from gpdust.encoder.vnet import VNet

BINS = 10
EMPTY = 0.1  # of a cube's mean density: what counts as none, where a logarithm is needed
DIGITS = 4  # of what is kept: sums of a net differ in the last ones from machine to machine


@dataclass(frozen=True)
class Accuracy:
    """Root mean square error of log10 ρ in bins of the local information.

    Attributes
    ----------
    information : tuple of float
        Medians of the bins, ln(1 + information / mag⁻²), rising.
    error : tuple of float
        Dex.
    """

    information: tuple[float, ...]
    error: tuple[float, ...]

    @classmethod
    def of_net(
        cls, net: VNet, cubes: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]], cell_length: float
    ) -> Accuracy:
        """Of a net on cubes that it has not learned from.

        Parameters
        ----------
        net : VNet
        cubes : iterable of (density, extinction, information), each of shape (n, n, n)
            mag/pc, mag and mag⁻².
        cell_length : float
            pc.
        """

        def found(extinction: np.ndarray, information: np.ndarray) -> np.ndarray:
            seen = (torch.as_tensor(values)[None] for values in (extinction, information))
            with torch.no_grad():
                answer = net(scale_inputs(net.shape.inputs, *seen, cell_length))[0, 0]
            return unscale_density(answer, cell_length).double().numpy()

        net.eval()
        return cls.measured((found(seen, known), true, known) for true, seen, known in cubes)

    @classmethod
    def measured(cls, cubes: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Accuracy:
        """Of densities that were found.

        Parameters
        ----------
        cubes : iterable of (found, true, information), each of shape (n, n, n)
            Densities in mag/pc, information in mag⁻².
        """
        squares, known = [], []
        for found, true, information in cubes:
            floor = EMPTY * found.mean()
            squares.append((log_density(found, floor) - log_density(true, floor)).ravel() ** 2)
            known.append(np.log1p(information).ravel())
        squared, known = np.concatenate(squares), np.concatenate(known)
        order = np.argsort(known, kind="stable")
        bins: dict[float, list[float]] = {}
        for part in np.array_split(order, BINS):
            if len(part):  # where many cells know the same, bins may share their median: keep it once
                median = round(float(np.median(known[part])), DIGITS)
                bins.setdefault(median, []).append(float(squared[part].mean()))
        errors = {median: round(float(np.sqrt(np.mean(values))), DIGITS) for median, values in bins.items()}
        return cls(tuple(errors), tuple(errors.values()))

    def at(self, log_information: np.ndarray) -> np.ndarray:
        """Error, dex, where ln(1 + information) is given; beyond the bins, that of the last."""
        return np.interp(log_information, self.information, self.error)

    def as_dict(self) -> dict[str, list[float]]:
        """Return plain values, for JSON."""
        return {name: list(values) for name, values in asdict(self).items()}

    @classmethod
    def from_dict(cls, record: dict[str, list[float]]) -> Accuracy:
        """Make it from `as_dict`."""
        return cls(tuple(record["information"]), tuple(record["error"]))


def log_density(density: np.ndarray, floor: float | None = None) -> np.ndarray:
    """log10 of the density of a cube, dex; what is below a floor, by default EMPTY of the mean, counts as the floor."""
    floor = EMPTY * float(density.mean()) if floor is None else floor
    return np.log10(np.maximum(density, max(floor, np.finfo(np.float64).tiny)))
