"""What a training leaves in its folder, besides its checkpoint: the net, and the record of how it was made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from gpdust.encoder.net_file import save_net
from gpdust.encoder.options import TrainingOptions
from gpdust.encoder.state import TrainingState
from gpdust.encoder.vnet import VNet, count_parameters
from gpdust.files import write_json
from gpdust.record import run_record

CHECKPOINT, NET, RECORD = "checkpoint.safetensors", "vnet.safetensors", "training.json"


@dataclass(frozen=True)
class TrainingFolder:
    """The folder of a training.

    Attributes
    ----------
    path : Path
    options : TrainingOptions
    library : dict
        Recipe, seed, count, cells, cell length in pc.
    facts : dict
        What else decides the training.
    """

    path: Path
    options: TrainingOptions
    library: dict
    facts: dict

    @property
    def checkpoint(self) -> Path:
        """State of the training."""
        return self.path / CHECKPOINT

    @property
    def net(self) -> Path:
        """The best net so far, for `load_net`."""
        return self.path / NET

    @property
    def record(self) -> Path:
        """Record of the training."""
        return self.path / RECORD

    @property
    def decided_by(self) -> dict:
        """Plain values that make it this training and no other."""
        return {"training": self.options.deciding(), "library": self.library, "facts": self.facts}

    def write_net(self, state: TrainingState) -> None:
        """Write the best net. Its record holds no clock and no machine: the same training makes the same bytes."""
        net = VNet(self.options.shape)
        net.load_state_dict(state.best)
        loss = state.history["validation"][state.best_epoch]
        known = {
            "options": self.options.deciding(),
            **self._known(state),
            "best_epoch": state.best_epoch + 1,
            "best_validation_loss": loss,
        }
        save_net(self.net, net, known)

    def write_record(self, state: TrainingState, cubes: dict[str, int], finished: bool, found: dict) -> dict:
        """Write the record, and return it; `cubes` holds their numbers by use, `found` what else to record."""
        history, best = state.history, state.best_epoch
        device = torch.cuda.get_device_name(state.device) if state.device.type == "cuda" else state.device.type
        record = {
            **run_record(),
            "device": {"name": device, "precision": state.precision.name},
            "finished": finished,
            "options": self.options.as_dict(),
            **self._known(state),
            "cubes": cubes,
            "parameters": count_parameters(state.net),
            "epochs": len(history["train"]),
            "best_epoch": best + 1,
            "best_validation_loss": history["validation"][best],
            "seconds": round(sum(history["seconds"]), 2),
            **found,
            "history": history,
        }
        write_json(self.record, record)
        return record

    def _known(self, state: TrainingState) -> dict:
        return {
            "library": self.library,
            "facts": self.facts,
            "cell_length": self.library["cell_length"],
            "trust": state.survey["trust"],
        }
