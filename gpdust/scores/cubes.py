"""How well cubes of density meet the truth: differences, distributions, and the correlation at each scale.

The figures of "3D dust maps by V-net" (MNRAS), section 3.3. Axes of cubes are the last three; others are a batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.fft import rfftn

from gpdust.errors import PosteriorError

GAUSSIAN_MAD = 1.482602218505602  # σ of a Gaussian in units of its median absolute deviation
CHUNK = 64  # cubes that are transformed at a time


@dataclass(frozen=True)
class CubeScores:
    """What `cube_scores` returns.

    Attributes
    ----------
    bias, dispersion, robust_dispersion : float
        Of ρ_p − ρ_t over all cells: its median, its standard deviation, and 1.4826 times its median absolute deviation,
        which a few bad cells don't move; mag/pc.
    wavenumber : ndarray, shape (n // 2,)
        k, pc⁻¹.
    correlation : ndarray, shape (n // 2,)
        c(k); see `cross_correlation`.
    """

    bias: float
    dispersion: float
    robust_dispersion: float
    wavenumber: np.ndarray
    correlation: np.ndarray

    def __str__(self) -> str:
        scales = "; ".join(
            f"{c:.1%} at {2 * np.pi / k:.3g} pc" for k, c in zip(self.wavenumber, self.correlation, strict=True)
        )
        return (
            f"density differs by {self.bias:+.2e} mag/pc (median), dispersion {self.dispersion:.2e}, robust "
            f"{self.robust_dispersion:.2e}\ncorrelation {scales}"
        )


def cube_scores(predicted: np.ndarray, truth: np.ndarray, cell_length: float) -> CubeScores:
    """Score predicted cubes of density.

    Parameters
    ----------
    predicted, truth : ndarray, shape (..., n, n, n)
        mag/pc.
    cell_length : float
        pc.

    Raises
    ------
    PosteriorError
        If they are no cubes, or differ in shape.
    """
    predicted, truth = _checked(predicted, truth)
    difference = predicted - truth
    bias = np.median(difference)
    robust = GAUSSIAN_MAD * np.median(np.abs(difference - bias))
    correlation = cross_correlation(predicted, truth, cell_length)
    return CubeScores(float(bias), float(np.std(difference, dtype=np.float64)), float(robust), *correlation)


def cross_correlation(predicted: np.ndarray, truth: np.ndarray, cell_length: float) -> tuple[np.ndarray, np.ndarray]:
    """Cross-correlation coefficient at each scale, c(k) = P_pt / √(P_pp P_tt), from the sums of all cubes' spectra.

    Parameters
    ----------
    predicted, truth : ndarray, shape (..., n, n, n)
        In any one unit, since c has none. Cubes are taken as periodic; means do not count.
    cell_length : float
        pc.

    Returns
    -------
    wavenumber : ndarray, shape (n // 2,)
        k = 2π / r in pc⁻¹: shells one fundamental mode 2π / (n L) wide, around multiples of it from 1 to the Nyquist
        frequency π / L; the mean of the modes in each.
    correlation : ndarray, shape (n // 2,)
        c(k), between −1 and 1; NaN where either cube has no power at all.

    Raises
    ------
    PosteriorError
        If they are no cubes, or differ in shape.
    """
    predicted, truth = _checked(predicted, truth)
    cells = truth.shape[-1]
    along, across = np.fft.fftfreq(cells, 1 / cells), np.fft.rfftfreq(cells, 1 / cells)
    modes = np.sqrt(along[:, None, None] ** 2 + along[:, None] ** 2 + across**2)
    twice = np.where((across > 0) & (across < cells / 2), 2.0, 1.0)  # a real cube's other half is left out
    weight = np.broadcast_to(twice, modes.shape).ravel()
    shell = np.floor(modes + 0.5).astype(int).ravel()

    def summed(values: np.ndarray) -> np.ndarray:
        return np.bincount(shell, weight * values.ravel(), minlength=cells // 2 + 1)[1 : cells // 2 + 1]

    both, ours, true = (np.zeros(modes.shape) for _ in range(3))
    predicted, truth = (x.reshape(-1, *modes.shape[:2], cells) for x in (predicted, truth))
    for start in range(0, len(truth), CHUNK):
        p, t = (rfftn(x[start : start + CHUNK].astype(np.float64), axes=(-3, -2, -1)) for x in (predicted, truth))
        both += (p * t.conj()).real.sum(axis=0)
        ours += (np.abs(p) ** 2).sum(axis=0)
        true += (np.abs(t) ** 2).sum(axis=0)
    power = np.sqrt(summed(ours) * summed(true))
    correlation = np.divide(summed(both), power, out=np.full(power.shape, np.nan), where=power > 0)
    return summed(modes) / summed(np.ones_like(modes)) * 2 * np.pi / (cells * cell_length), correlation


def density_distributions(
    predicted: np.ndarray, truth: np.ndarray, bins: int = 50, least: float | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probability distributions of predicted and true densities on common logarithmic bins.

    Parameters
    ----------
    predicted, truth : ndarray
        mag/pc, of any shapes.
    bins : int
        How many.
    least : float, optional
        Lower edge of the first bin, mag/pc; by default the smallest density within six decades of the largest.

    Returns
    -------
    edges : ndarray, shape (bins + 1,)
        mag/pc.
    predicted, truth : ndarray, shape (bins,)
        Share of the cells per dex. Cells below the first edge, such as those without dust, count among all.

    Raises
    ------
    PosteriorError
        If no density is positive.
    """
    predicted, truth = np.ravel(predicted), np.ravel(truth)
    both = np.concatenate([predicted, truth])
    most = both.max(initial=0.0)
    if not most > 0:
        raise PosteriorError("distributions on logarithmic bins need a positive density")
    least = both[both > 1e-6 * most].min() if least is None else least
    if not 0 < least < most:
        least = most / 10  # all densities alike, or all below the first bin that was asked for
    edges = np.geomspace(least, most, bins + 1, dtype=np.float64)
    edges[[0, -1]] = min(edges[0], least), max(edges[-1], most)  # rounding leaves no cell outside
    width = np.diff(np.log10(edges))
    shares = (np.histogram(x, edges)[0] / (x.size * width) for x in (predicted, truth))
    return edges, *shares


def _checked(predicted: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    predicted, truth = np.asarray(predicted), np.asarray(truth)
    if predicted.shape != truth.shape or truth.ndim < 3 or len(set(truth.shape[-3:])) != 1 or not truth.size:
        raise PosteriorError(
            f"predicted and true cubes both have shape (..., n, n, n), not {predicted.shape} and {truth.shape}"
        )
    return predicted, truth
