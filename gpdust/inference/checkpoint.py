"""Checkpoints of a fit: a state written atomically, from which the fit goes on as if it had never stopped."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, fields
from os import PathLike
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from gpdust.errors import InferenceError
from gpdust.files import atomic_path
from gpdust.inference.convergence import StoppingRule
from gpdust.inference.gaussian import WhitenedGaussian
from gpdust.inference.state import State
from gpdust.inference.trace import Trace
from gpdust.model import DustModel

AnyState = TypeVar("AnyState", bound=State)
GUIDE = ("rotation", "scale", "factor")  # of q in svi, beside the mean, which the state has; not always a factor


def fingerprint(model: DustModel, engine: str, seed: int, options: object) -> str:
    """A short hash of everything that decides a fit: data, grid, prior, engine, seed and settings."""
    digest = hashlib.sha256()
    for tensor in (*model.likelihood.tensors().values(), *model.prior.tensors().values()):
        digest.update(tensor.contiguous().numpy().tobytes())
    prior = {key: value for key, value in model.prior.description().items() if key != "jitter"}
    grid = model.grid.description()
    settings = {"engine": engine, "seed": seed, "prior": prior, "grid": grid, "options": asdict(options)}
    settings["treatment"] = model.treatment.description()  # what is learned of the noise, above all
    digest.update(json.dumps(settings, sort_keys=True).encode())
    return digest.hexdigest()[:16]


def save_state(path: str | PathLike, state: State, mark: str) -> None:
    """Write a state; `mark` is the fit's fingerprint."""
    tensors, record = _parts(state)
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, {"state": json.dumps(record | {"fingerprint": mark})})


def _parts(state: State) -> tuple[dict[str, torch.Tensor], dict]:
    """Its tensors and all else. What is neither is made anew by the next stage."""
    tensors, record = {}, {}
    for entry in fields(state):
        value = getattr(state, entry.name)
        if isinstance(value, torch.Tensor):
            tensors[entry.name] = value.contiguous()
        elif isinstance(value, torch.Generator):
            tensors[entry.name] = value.get_state()
        elif isinstance(value, WhitenedGaussian):
            parts = {name: getattr(value, name) for name in GUIDE}
            tensors |= {f"{entry.name}.{name}": part.contiguous() for name, part in parts.items() if part is not None}
        elif isinstance(value, Trace):
            record[entry.name] = value.as_dict()
        elif isinstance(value, StoppingRule):
            record[entry.name] = asdict(value)
        elif isinstance(value, State):
            inner, record[entry.name] = _parts(value)
            tensors |= {f"{entry.name}.{name}": tensor for name, tensor in inner.items()}
        elif isinstance(value, (int, float, str)):
            record[entry.name] = value
    return tensors, record


def load_state(path: str | PathLike, mark: str, kind: type[AnyState]) -> AnyState:
    """Read a state of the given kind.

    Raises
    ------
    InferenceError
        If the file is no checkpoint, or that of another fit.
    """
    path = Path(path)
    try:
        with safe_open(path, framework="pt") as stored:
            record = json.loads(stored.metadata()["state"])
            values = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118  (not a dict)
        found = record.pop("fingerprint")
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise InferenceError(f"{path} is not a checkpoint of a fit ({error}); delete it to start afresh") from None
    if found != mark:
        raise InferenceError(
            f"{path} is the checkpoint of another fit: the catalogue, grid, prior, engine, seed or settings have "
            "changed. Delete it to start afresh, or write this fit elsewhere."
        )
    return _state(kind, values, record)


def _state(kind: type[AnyState], tensors: dict[str, torch.Tensor], record: dict) -> AnyState:
    """The state whose parts these are."""
    values = {name: tensor for name, tensor in tensors.items() if "." not in name}
    if "generator" in values:
        generator = torch.Generator()
        generator.set_state(values["generator"])
        values["generator"] = generator
    for name in [name for name, value in record.items() if isinstance(value, dict) and "rule" in value]:
        inner = {key.removeprefix(f"{name}."): tensor for key, tensor in tensors.items() if key.startswith(f"{name}.")}
        values[name] = _state(kind, inner, record.pop(name))
    if "guide.scale" in tensors:
        parts = {name: tensors.get(f"guide.{name}") for name in GUIDE}
        values["guide"] = WhitenedGaussian(values["mean"], **parts, generator=values["generator"])
    record = record | {"trace": Trace.from_dict(record["trace"]), "rule": StoppingRule(**record["rule"])}
    return kind(**values, **record)
