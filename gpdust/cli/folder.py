"""The folder that a fit writes to: what stands where, and whether it may be written to."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

from gpdust.config import Config
from gpdust.errors import ConfigError, PosteriorError
from gpdust.posterior import Posterior

FIGURES = ("density_slices.png", "extinction.png", "uncertainty.png", "residuals.png", "trace.png", "sightline.png")
CHECKS = ("check.json", "check.png", "check_held_out.json", "check_held_out.png")
AGAINST_TRUTH = ("scores.json", "truth.png")  # of `gpdust demo`


@dataclass(frozen=True)
class FitFolder:
    """The output folder of a fit.

    Attributes
    ----------
    path : Path
    """

    path: Path

    @property
    def checkpoint(self) -> Path:
        """State of a fit that has not ended yet; what else is there is of an older one."""
        return self.path / "checkpoint.safetensors"

    @property
    def posterior(self) -> Path:
        """What `Posterior.load` reads."""
        return self.path / "posterior"

    @property
    def maps(self) -> Path:
        """Percentile maps."""
        return self.path / "maps.fits"

    @property
    def stars(self) -> Path:
        """What the map says of each star."""
        return self.path / "stars.fits"

    @property
    def record(self) -> Path:
        """Record of the run; it is there once the fit is."""
        return self.path / "fit.json"

    def prepare(self, config: Config, fresh: bool) -> dict | None:
        """See that the folder is ready for a fit, before any long work; nothing in it is touched.

        Parameters
        ----------
        config : Config
        fresh : bool
            Take no notice of a fit that is there, finished or not.

        Returns
        -------
        dict or None
            The record of a finished fit of the same configuration.

        Raises
        ------
        ConfigError
            If a finished fit of another configuration is there, or a product would take the place of the catalogue.
        OSError
            If the folder can't be written to.
        """
        if self.path.exists() and not self.path.is_dir():
            raise ConfigError(f"'{self.path}' is a file; --out takes a folder")
        given = config.catalogue.path
        if given.resolve() in {(self.path / name).resolve() for name in self._products}:
            raise ConfigError(
                f"the fit would write its own {given.name} over the catalogue '{given}': choose another --out"
            )
        self.path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=self.path):  # better to fail now than after the fit
            pass
        record = None if fresh else self._finished()
        if record is not None and (changes := changed_keys(config, record["config"])):
            raise ConfigError(
                f"'{self.path}' holds a finished fit of another configuration (different: {', '.join(changes)}). "
                "Choose another --out, or replace it with --fresh"
            )
        return record

    def refuse_other_stars(self, record: dict, fingerprint: str) -> None:
        """Raise ConfigError where the finished fit was one of other stars, or in another way not this one."""
        if record["fingerprint"] != fingerprint:
            raise ConfigError(
                f"'{self.path}' holds a finished fit of this configuration, but the catalogue (or gpdust) has changed "
                "since. Choose another --out, or replace it with --fresh"
            )

    def clear(self) -> None:
        """Remove the record and all that was made of a posterior which is no longer there."""
        for name in self._products:
            (self.path / name).unlink(missing_ok=True)

    @property
    def _products(self) -> tuple[str, ...]:
        """Names of the files that are made of a posterior."""
        return self.record.name, self.maps.name, self.stars.name, *FIGURES, *CHECKS, *AGAINST_TRUTH

    def _finished(self) -> dict | None:
        if self.checkpoint.exists():  # a newer fit has not ended
            return None
        try:
            record = json.loads(self.record.read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        return record if {"config", "fingerprint"} <= record.keys() and self.posterior.is_dir() else None


def changed_keys(config: Config, recorded: dict) -> list[str]:
    """List "[section] key" for what decides a fit and differs; maps can be made again, and files may move."""
    try:
        before = Config.from_dict(recorded).as_dict()  # fills in keys that are newer than the record
    except ConfigError:
        return ["its keys"]
    changes = []
    for section, keys in config.as_dict().items():
        old = before[section]
        if section != "maps":
            changes += [f"[{section}] {key}" for key in keys | old if keys.get(key) != old.get(key) and key != "path"]
    return changes


def load_posterior(path: Path) -> Posterior:
    """Load the posterior of a fit's folder, or of a folder that is one itself."""
    folder = FitFolder(path)
    if not path.is_dir():
        raise PosteriorError(f"there is no folder '{path}'; give the one that `gpdust fit` wrote")
    if folder.checkpoint.exists():
        older = f"; '{folder.posterior}' may be that of an older fit" if folder.posterior.is_dir() else ""
        raise PosteriorError(f"the fit in '{path}' has not ended yet; `gpdust fit` goes on from its checkpoint{older}")
    return Posterior.load(folder.posterior if folder.posterior.is_dir() else path)
