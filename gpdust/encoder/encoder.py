"""A trained V-net at work: from a catalogue of stars to the density in a cube, in under a second."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from os import PathLike

import numpy as np
import torch
from tqdm import tqdm

from gpdust.catalogue import StarCatalogue
from gpdust.encoder.accuracy import Accuracy
from gpdust.encoder.cube import CubeGrid
from gpdust.encoder.maps import CubeMaps, RunningMoments
from gpdust.encoder.monte_carlo import monte_carlo
from gpdust.encoder.neighbours import SMALLEST_VARIANCE, ExtinctionCube
from gpdust.encoder.net_file import load_net, packaged
from gpdust.encoder.scaling import scale_inputs, unscale_density
from gpdust.encoder.trust import Trust
from gpdust.encoder.vnet import VNet
from gpdust.errors import EncoderError

BATCH = 8  # cubes at once


class TrustWarning(UserWarning):
    """A V-net was given what it has not been trained for."""


@dataclass(frozen=True, eq=False)
class Encoder:
    """A V-net with the record of its training.

    Extinction is linear in density, and only ρL counts, so that a net serves cubes of any cell length, and of any
    extinction once that is scaled into the range of its training.

    Attributes
    ----------
    net : VNet
    record : dict
        What `gpdust train-vnet` wrote.
    """

    net: VNet
    record: dict

    @classmethod
    def load(cls, path: str | PathLike) -> Encoder:
        """Read the vnet.safetensors of a training."""
        return cls(*load_net(path))

    @classmethod
    def packaged(cls, name: str) -> Encoder:
        """One that comes with gpdust: "small-region" or "large-region"."""
        return cls(*packaged(name))

    @property
    def cell_length(self) -> float:
        """Of the training cubes, pc."""
        return float(self.record["cell_length"])

    @property
    def neighbours(self) -> int | None:
        """Stars that make a cell; see `ExtinctionCube.of`."""
        return self.record["facts"].get("observation", {}).get("neighbours")

    @property
    def in_plane(self) -> bool:
        """Whether the z of its cubes must be Galactic Z."""
        return self.record["options"]["symmetry"] == "mirror"

    @property
    def accuracy(self) -> Accuracy:
        """How well it knew the density of cubes that it had not learned from.

        Raises
        ------
        EncoderError
            If the net comes from a training that did not end.
        """
        if "accuracy" not in self.record:
            raise EncoderError("this V-net comes from a training that has not ended; give `gpdust train-vnet` its time")
        return Accuracy.from_dict(self.record["accuracy"])

    @property
    def trust(self) -> Trust:
        """The range of the training."""
        return Trust.from_dict(self.record["trust"])

    def density(self, extinction: np.ndarray, information: np.ndarray, cell_length: float) -> np.ndarray:
        """Density in cubes.

        Parameters
        ----------
        extinction : ndarray, shape (..., n, n, n)
            Up to the cell centres, mag.
        information : ndarray, shape (..., n, n, n)
            What stars know of it; see `ExtinctionCube`.
        cell_length : float
            pc.

        Returns
        -------
        ndarray, shape (..., n, n, n)
            mag/pc.

        Raises
        ------
        EncoderError
            If the cubes have sides that the net can't take.

        Warns
        -----
        TrustWarning
            If there is more or less dust in them than the net has been trained for.
        """
        extinction, information = np.broadcast_arrays(extinction, information)
        cubes = extinction.reshape(-1, *extinction.shape[-3:])
        weights = information.reshape(cubes.shape)
        scale = self._scale(cubes)
        answers = [
            self._answer(cubes[some] / scale[some], _scaled(weights[some], scale[some]), cell_length)
            for some in (slice(first, first + BATCH) for first in range(0, len(cubes), BATCH))
        ]
        density = np.concatenate(answers) if answers else np.empty(cubes.shape)
        for warning in self.trust.check(cubes / scale, density * cell_length):
            warnings.warn(f"the V-net may not be trusted here: {warning}", TrustWarning, stacklevel=2)
        return (density * scale).reshape(extinction.shape)

    def _scale(self, cubes: np.ndarray) -> np.ndarray:
        """What each cube's extinctions are divided by to come into the trusted range; one where they lie in it."""
        low, high = self.trust.extinction
        top = cubes.max(axis=(-3, -2, -1), keepdims=True)
        return np.where((top > 0) & ((top < low) | (top > high)), top / np.sqrt(low * high), 1.0)

    def _answer(self, extinction: np.ndarray, information: np.ndarray, cell_length: float) -> np.ndarray:
        with torch.no_grad():
            inputs = scale_inputs(
                self.net.shape.inputs,
                torch.as_tensor(extinction),
                torch.as_tensor(information),
                self.cell_length,
            )
            return unscale_density(self.net(inputs)[:, 0], self.cell_length, cell_length).double().numpy()

    def from_stars(self, stars: StarCatalogue, cube: CubeGrid) -> CubeMaps:
        """Density of a cube as its stars tell it, without errors.

        Raises
        ------
        EncoderError
            If no star lies in the cube.
        """
        seen = ExtinctionCube.of_catalogue(stars, cube, self.neighbours)
        return CubeMaps(cube, self.density(seen.extinction, seen.information, cube.cell_length))

    def with_errors(
        self, stars: StarCatalogue, cube: CubeGrid, draws: int = 300, seed: int = 0, progress: bool = True
    ) -> CubeMaps:
        """Density of a cube and its scatter when extinctions and distances are drawn again within their errors.

        This is what the V-net paper (section 4.2) calls the error: it holds what the stars' own errors do to the
        answer, and neither what the net does not know nor what lies between the stars.

        Parameters
        ----------
        stars : StarCatalogue
        cube : CubeGrid
        draws : int
            The paper takes 300.
        seed : int
        progress : bool
            Show a bar.
        """
        rng, found = np.random.default_rng(seed), RunningMoments(cube.shape)
        cubes = monte_carlo(stars, cube, draws, rng=rng, neighbours=self.neighbours, chunk=BATCH)
        with tqdm(total=draws, desc="V-net", unit="draw", disable=not progress) as bar:
            for extinction, information in cubes:
                found.add(self.density(extinction, information, cube.cell_length))
                bar.update(len(extinction))
        return CubeMaps(cube, found.mean, found.deviation)

    def within(
        self,
        extinction: np.ndarray,
        information: np.ndarray,
        cell_length: float,
        known: np.ndarray,
        fills: int = 1,
        seed: int = 0,
    ) -> np.ndarray:
        """Density of a part of a cube of which the rest is not known.

        The rest is filled with random extinctions between the smallest and the largest of the known part (V-net paper,
        appendix), and told to the net as known by nothing.

        Parameters
        ----------
        extinction, information : ndarray, shape (n, n, n)
        cell_length : float
        known : ndarray of bool, shape (n, n, n)
        fills : int
            Over how many fillings to average.
        seed : int

        Returns
        -------
        ndarray, shape (n, n, n)
            mag/pc; not a number outside the known part.

        Raises
        ------
        EncoderError
            If nothing is known.
        """
        if not known.any():
            raise EncoderError("no cell of the cube is known: there is nothing to infer a density from")
        inside = extinction[known]
        noise = np.random.default_rng(seed).uniform(inside.min(), inside.max(), (fills, *extinction.shape))
        filled = np.where(known, extinction, noise)
        density = self.density(filled, np.where(known, information, 0.0), cell_length).mean(axis=0)
        return np.where(known, density, np.nan)


def _scaled(information: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """What stars would know if all extinctions and errors were divided by `scale`.

    The 10⁻⁴ mag² that equation 5 of the V-net paper adds to their variance stay as they are, so that exact extinctions
    count as exact at any scale.
    """
    with np.errstate(divide="ignore"):
        variance = np.maximum(1 / information - SMALLEST_VARIANCE, 0)
    return np.where(scale == 1, information, 1 / (variance / scale**2 + SMALLEST_VARIANCE))
