"""Latents of one prior from those of another that differs only in how finely it is resolved."""

import torch

from gpdust.prior.inducing import InducingGP
from gpdust.prior.spectral import SpectralGP


def transfer(latent: torch.Tensor, source: InducingGP | SpectralGP, target: InducingGP | SpectralGP) -> torch.Tensor:
    """The same field in the latents of another resolution: modes that the source lacks are zero.

    Parameters
    ----------
    latent : Tensor, shape (..., latent size of the source)
    source, target : InducingGP or SpectralGP
        Of one kind: the same inducing points, or boxes of the same lengths.

    Returns
    -------
    Tensor, shape (..., latent size of the target)
    """
    if isinstance(source, InducingGP) or source.box == target.box:
        return latent
    return source.box.transfer(latent, target.box)
