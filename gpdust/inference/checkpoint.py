"""Checkpoints of a fit: a state written atomically, from which the fit goes on as if it had never stopped."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from os import PathLike
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from gpdust.errors import InferenceError
from gpdust.files import atomic_path
from gpdust.inference.convergence import StoppingRule
from gpdust.inference.svi import SVIOptions, SVIState
from gpdust.inference.trace import Trace
from gpdust.model import DustModel


def fingerprint(model: DustModel, seed: int, options: SVIOptions) -> str:
    """A short hash of everything that decides a fit: data, grid, prior, seed and settings."""
    digest = hashlib.sha256()
    for tensor in (model.statistics.diagonal, model.statistics.coupling, model.statistics.weighted, model.prior.points):
        digest.update(tensor.contiguous().numpy().tobytes())
    prior = {key: value for key, value in model.prior.description().items() if key != "jitter"}
    settings = {"seed": seed, "prior": prior, "grid": model.grid.description(), "options": asdict(options)}
    digest.update(json.dumps(settings, sort_keys=True).encode())
    return digest.hexdigest()[:16]


def save_state(path: str | PathLike, state: SVIState, mark: str) -> None:
    """Write a state; `mark` is the fit's fingerprint."""
    tensors = {
        "mean": state.mean,
        "theta": state.theta,
        "points": state.points,
        "generator": state.generator.get_state(),
    }
    record = {
        "fingerprint": mark,
        "tempering": state.tempering,
        "phase": state.phase,
        "reach": state.reach,
        "seconds": state.seconds,
        "trace": state.trace.as_dict(),
        "rule": asdict(state.rule),
    }
    with atomic_path(path) as temporary:
        save_file(
            {name: tensor.contiguous() for name, tensor in tensors.items()}, temporary, {"state": json.dumps(record)}
        )


def load_state(path: str | PathLike, mark: str) -> SVIState:
    """Read a state.

    Raises
    ------
    InferenceError
        If the file is no checkpoint, or that of another fit.
    """
    path = Path(path)
    try:
        with safe_open(path, framework="pt") as stored:
            record = json.loads(stored.metadata()["state"])
            tensors = {name: stored.get_tensor(name) for name in ("mean", "theta", "points", "generator")}
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise InferenceError(f"{path} is not a checkpoint of a fit ({error}); delete it to start afresh") from None
    if record["fingerprint"] != mark:
        raise InferenceError(
            f"{path} is the checkpoint of another fit: the catalogue, grid, prior, seed or settings have changed. "
            "Delete it to start afresh, or write this fit elsewhere."
        )
    generator = torch.Generator()
    generator.set_state(tensors["generator"])
    return SVIState(
        mean=tensors["mean"],
        theta=tensors["theta"],
        points=tensors["points"],
        tempering=record["tempering"],
        phase=record["phase"],
        reach=record["reach"],
        generator=generator,
        trace=Trace.from_dict(record["trace"]),
        rule=StoppingRule(**record["rule"]),
        seconds=record["seconds"],
    )
