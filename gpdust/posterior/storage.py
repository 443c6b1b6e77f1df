"""A posterior in a folder: tensors in safetensors, everything else in JSON; nothing that runs code when it is read."""

from __future__ import annotations

import json
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import gpytorch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from gpdust.errors import PosteriorError
from gpdust.files import atomic_folder
from gpdust.grid import grid_from_description
from gpdust.inference import StoppingReport, Trace
from gpdust.prior import InducingGP

if TYPE_CHECKING:
    from gpdust.posterior.posterior import Posterior

FORMAT = 1
TENSORS, RECORD = "posterior.safetensors", "posterior.json"


def write_posterior(posterior: Posterior, path: str | PathLike) -> Path:
    """Write a posterior to a folder, atomically; a folder that is there is replaced.

    Parameters
    ----------
    posterior : Posterior
    path : path-like

    Returns
    -------
    Path
    """
    tensors = {
        "mean": posterior.mean,
        "scale": posterior.scale,
        "theta": posterior.theta,
        "theta_covariance": posterior.theta_covariance,
        "points": posterior.prior.points,
    }
    record = {
        "format": FORMAT,
        "prior": posterior.prior.description(),
        "grid": posterior.grid.description(),
        "report": asdict(posterior.report),
        "trace": posterior.trace.as_dict(),
        "meta": posterior.meta,
    }
    path = Path(path)
    if path.exists() and not (path / RECORD).exists():
        raise PosteriorError(f"{path} exists and holds no posterior; it is not overwritten. Choose another place.")
    with atomic_folder(path) as folder:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / TENSORS)
        (folder / RECORD).write_text(json.dumps(record, indent=1), encoding="utf-8")
    return path


def read_posterior(path: str | PathLike, kernel: gpytorch.kernels.Kernel | None = None) -> dict:
    """Read the parts of a posterior from a folder that `write_posterior` has written.

    Raises
    ------
    PosteriorError
        If the folder holds no posterior, a damaged one, or one of a later format.
    """
    path = Path(path)
    try:
        record = json.loads((path / RECORD).read_text(encoding="utf-8"))
        tensors = load_file(path / TENSORS)
    except FileNotFoundError as error:
        raise PosteriorError(f"{path} holds no posterior: {Path(error.filename or path).name} is missing") from None
    except (json.JSONDecodeError, SafetensorError, UnicodeDecodeError) as error:
        raise PosteriorError(f"the posterior in {path} is damaged: {error}") from None
    if record.get("format") != FORMAT:
        raise PosteriorError(
            f"the posterior in {path} has format {record.get('format')}, this gpdust reads {FORMAT}; update gpdust"
        )
    try:
        prior = InducingGP.from_description(record["prior"], tensors.pop("points"), kernel)
    except ValueError as error:
        raise PosteriorError(f"the posterior in {path} can't be read: {error}") from None
    return {
        "prior": prior,
        **tensors,
        "grid": grid_from_description(record["grid"]),
        "report": StoppingReport(**record["report"]),
        "trace": Trace.from_dict(record["trace"]),
        "meta": record["meta"],
    }
