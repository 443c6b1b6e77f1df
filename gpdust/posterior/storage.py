"""A posterior in a folder: tensors in safetensors, everything else in JSON; nothing that runs code when it is read."""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import gpytorch
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from gpdust.errors import PosteriorError
from gpdust.files import atomic_folder
from gpdust.grid import grid_from_description
from gpdust.inference import StoppingReport, Trace
from gpdust.likelihood import StarTreatment
from gpdust.posterior.spread import spread_from_tensors
from gpdust.prior import InducingGP, SpectralGP

if TYPE_CHECKING:
    from gpdust.posterior.posterior import Posterior

FORMAT = 2
READABLE = (1, 2)  # 1 knew inducing points and a full covariance only
KERNEL_CHECKS = 8  # points at which a stored kernel is compared with the one in use
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
        "theta": posterior.theta,
        "theta_covariance": posterior.theta_covariance,
        **posterior.spread.tensors(),
        **posterior.prior.tensors(),
    }
    if not posterior.treatment.is_plain:
        message = "the distance prior is a function and can't be stored: a posterior read again has the usual one"
        warnings.warn(message, UserWarning, stacklevel=3)
    record = {
        "format": FORMAT,
        "prior": _prior_record(posterior.prior),
        "grid": posterior.grid.description(),
        "report": asdict(posterior.report),
        "trace": posterior.trace.as_dict(),
        "meta": posterior.meta,
        "treatment": posterior.treatment.description(),
        "noise_table": posterior.noise_table,
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
    except (FileNotFoundError, NotADirectoryError) as error:
        raise PosteriorError(f"{path} holds no posterior: {Path(error.filename or path).name} is missing") from None
    except (json.JSONDecodeError, SafetensorError, UnicodeDecodeError) as error:
        raise PosteriorError(f"the posterior in {path} is damaged: {error}") from None
    if not isinstance(record, dict) or record.get("format") not in READABLE:
        found = record.get("format") if isinstance(record, dict) else "none"
        raise PosteriorError(
            f"the posterior in {path} has format {found}, this gpdust reads {FORMAT} at most; update gpdust"
        )
    try:
        return _assemble(record, tensors, kernel)
    except (KeyError, TypeError, AttributeError) as error:
        raise PosteriorError(f"the posterior in {path} is damaged: {type(error).__name__}: {error}") from None
    except ValueError as error:
        raise PosteriorError(f"the posterior in {path} can't be read: {error}") from None


def _assemble(record: dict, tensors: dict[str, torch.Tensor], kernel: gpytorch.kernels.Kernel | None) -> dict:
    """The arguments of a `Posterior`, from what was read."""
    return {
        "prior": _prior(record["prior"], tensors, kernel),
        "spread": spread_from_tensors(tensors),
        **{name: tensors[name] for name in ("mean", "theta", "theta_covariance")},
        "grid": grid_from_description(record["grid"]),
        "report": StoppingReport(**record["report"]),
        "trace": Trace.from_dict(record["trace"]),
        "meta": record["meta"],
        **_treatment(record),
    }


def _treatment(record: dict) -> dict:
    """How stars were treated; folders of older versions do not say."""
    if "treatment" not in record:
        return {}
    return {
        "treatment": StarTreatment.from_description(record["treatment"]),
        "noise_table": record["noise_table"],
    }


def _prior(
    description: dict, tensors: dict[str, torch.Tensor], kernel: gpytorch.kernels.Kernel | None
) -> InducingGP | SpectralGP:
    if description.get("kind") == SpectralGP.kind:
        return SpectralGP.from_description(description)
    return InducingGP.from_description(description, tensors["points"], kernel)


def _prior_record(prior: InducingGP | SpectralGP) -> dict:
    """Description of a prior; where its kernel would not come back the same, only the user can give it again."""
    description = prior.description()
    if isinstance(prior, SpectralGP):
        return description
    points = prior.points[:KERNEL_CHECKS]
    try:
        again = InducingGP.from_description(description, prior.points)
        same = torch.allclose(again.at(points).matrix, prior.at(points).matrix, rtol=1e-9, atol=1e-12)
    except (ValueError, TypeError, RuntimeError):
        same = False
    if not same:
        message = f"the kernel ({prior.kernel_name}) can't be stored; give it again: Posterior.load(path, kernel=…)"
        warnings.warn(message, UserWarning, stacklevel=4)
        description["kernel"] = None
    return description
