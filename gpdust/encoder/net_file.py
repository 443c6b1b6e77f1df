"""A trained V-net as one file: weights, and the record of how it was trained as JSON; nothing is pickled."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib.resources import as_file, files
from os import PathLike
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from gpdust.encoder.vnet import VNet, VNetShape
from gpdust.errors import EncoderError
from gpdust.files import atomic_path

FORMAT = 3  # since nets may have a shortcut
RECORD = "gpdust.vnet"  # the one key of the file's metadata: with more, their order is not always the same


def save_net(path: str | PathLike, net: VNet, record: dict, half: bool = False) -> None:
    """Write a net and its record, atomically; the same net and record make the same bytes.

    Parameters
    ----------
    path : path-like
        Ends in ".safetensors" by custom.
    net : VNet
    record : dict
        Plain values: how the net was trained, and what for. Format and shape of the net are added.
    half : bool
        Store kernels in float16, with three digits: half the size. What batch norm has gathered needs its range, and
        stays float32.

    Raises
    ------
    EncoderError
        If a kernel is too large for float16.
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in net.state_dict().items()}
    if half:
        tensors = {name: value.half() if value.ndim > 1 else value for name, value in tensors.items()}
        if wrong := [name for name, value in tensors.items() if not value.isfinite().all()]:
            raise EncoderError(f"the weights {wrong[0]} are too large for float16; save the net with half=False")
    record = {**record, "format": FORMAT, "shape": asdict(net.shape)}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, {RECORD: json.dumps(record, allow_nan=False)})


def load_net(path: str | PathLike) -> tuple[VNet, dict]:
    """Read what `save_net` wrote.

    Returns
    -------
    net : VNet
        float32, ready to be used: batch norm as after the training.
    record : dict

    Raises
    ------
    EncoderError
        If there is no such file, it is no net, that of a newer gpdust, or damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise EncoderError(f"there is no net '{path}'; `gpdust train-vnet` makes one (vnet.safetensors)")
    try:
        with safe_open(path, framework="pt") as stored:
            text = (stored.metadata() or {}).get(RECORD)
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118  (not a dict)
    except SafetensorError as error:
        raise EncoderError(f"'{path}' is not a net ({error}); give the vnet.safetensors of a training") from None
    if text is None:
        raise EncoderError(f"'{path}' holds tensors, but not a net of gpdust; give the vnet.safetensors of a training")
    record = json.loads(text)
    if record["format"] != FORMAT:
        what = "newer than what this gpdust reads; update it" if record["format"] > FORMAT else "too old; train it anew"
        raise EncoderError(f"'{path}' has format {record['format']}, not {FORMAT}: it is {what}")
    net = VNet(VNetShape(**record["shape"]))
    try:
        net.load_state_dict({name: _single(value) for name, value in tensors.items()})
    except RuntimeError as error:
        raise EncoderError(f"'{path}' is damaged: {error}") from None
    return net.eval(), record


def packaged(name: str) -> tuple[VNet, dict]:
    """Load a net that comes with gpdust, by its name.

    Raises
    ------
    EncoderError
        If there is none of this name; it lists those there are.
    """
    folder = files("gpdust.encoder") / "weights"
    there = sorted(file.name for file in folder.iterdir()) if folder.is_dir() else []
    names = [Path(file).stem for file in there if file.endswith(".safetensors")]
    if name not in names:
        found = f"there are {', '.join(names)}" if names else "this gpdust comes with none"
        raise EncoderError(f"there is no net {name!r} in gpdust; {found}. `gpdust train-vnet` makes one")
    with as_file(folder / f"{name}.safetensors") as path:
        return load_net(path)


def _single(value: torch.Tensor) -> torch.Tensor:
    return value.float() if value.is_floating_point() else value
