"""Cholesky factors of covariances that rounding makes indefinite: jitter is added, said and recorded."""

import warnings

import torch

from gpdust.errors import InferenceError

FIRST_JITTER = 1e-9
QUIET_JITTER = 1e-6
LAST_JITTER = 1e-3


class JitterWarning(RuntimeWarning):
    """A covariance needed so much jitter that the map feels it."""


def cholesky_with_jitter(covariance: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Lower Cholesky factor of a covariance, with the least jitter that makes it positive definite.

    Parameters
    ----------
    covariance : Tensor, shape (n, n)

    Returns
    -------
    factor : Tensor, shape (n, n)
    jitter : float
        What was added to the diagonal, relative to its mean. Smooth kernels over close points always need some; up to
        1e-6 (a thousandth of the amplitude) it is recorded but not warned of.

    Warns
    -----
    JitterWarning
        If the jitter exceeds 1e-6.

    Raises
    ------
    InferenceError
        If even 1e-3 does not help: two inducing points coincide, or a hyperparameter has run away.
    """
    scale = covariance.diagonal().mean()
    identity = torch.eye(covariance.shape[-1], dtype=covariance.dtype, device=covariance.device)
    jitter = FIRST_JITTER
    while jitter <= LAST_JITTER * 1.001:
        factor, failed = torch.linalg.cholesky_ex(covariance + jitter * scale * identity)
        if not failed and torch.isfinite(factor).all():
            if jitter > QUIET_JITTER:
                message = (
                    f"the covariance of the inducing points needed a jitter of {jitter:.0e} of its variance; inducing "
                    "points are too close for the length scale: use fewer of them, or a shorter length scale"
                )
                warnings.warn(message, JitterWarning, stacklevel=2)
            return factor, jitter
        jitter *= 10
    raise InferenceError(
        "the covariance of the inducing points is singular: two of them coincide, or a length scale has run far beyond "
        "the region. Use fewer inducing points, or fix the length scale."
    )
