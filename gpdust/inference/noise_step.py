"""The noise of the stars that belongs to draws of the map: the step of the ELBO in its own direction."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import minimize

from gpdust.likelihood import FreeNoise, StarLikelihood

FARTHEST = 8.0  # prior standard deviations
STEPS = 15
TOLERANCE = 1e-2  # nats per prior standard deviation
DIFFERENCE = 1e-3  # prior standard deviations, of the second derivatives


def best_noise(
    likelihood: StarLikelihood, free: FreeNoise, extinction: torch.Tensor, start: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The noise x that maximises E[log L(A; x)] + log p(x) over draws of the map.

    Parameters
    ----------
    likelihood : StarLikelihood
        Of stars whose noise can be replaced.
    free : FreeNoise
    extinction : Tensor, shape (draws, ray, cell)
        At the outer edges, mag.
    start : ndarray, shape (parameters,)
        Standardised.

    Returns
    -------
    best : ndarray, shape (parameters,)
    covariance : ndarray, shape (parameters, parameters)
        Laplace, at this map.
    """

    def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
        stars = likelihood.with_noise(free.at(x))
        value, slope = stars.log_likelihood(extinction), stars.noise_slope(extinction)
        return 0.5 * x @ x - float(value.mean()), x - free.slope(slope.mean(0).numpy())

    found = minimize(
        loss,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[(-FARTHEST, FARTHEST)] * free.size,
        options={"maxiter": STEPS, "gtol": TOLERANCE},
    ).x
    steps = DIFFERENCE * np.eye(free.size)
    curvature = np.stack([(loss(found + step)[1] - loss(found - step)[1]) / (2 * DIFFERENCE) for step in steps])
    values, vectors = np.linalg.eigh(0.5 * (curvature + curvature.T))
    return found, (vectors / np.maximum(values, 1.0)) @ vectors.T  # the prior alone gives one


def noise_drift(before: torch.Tensor, after: torch.Tensor, covariance: torch.Tensor) -> float:
    """How far the noise has moved, in its own standard errors."""
    return float(((after - before).abs() / covariance.diagonal().sqrt()).max()) if len(before) else 0.0
