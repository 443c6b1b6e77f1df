"""The configuration of a V-net's training: every key of `gpdust train-vnet`, its kind and its default."""

# ruff: noqa: RUF009 - `key` is called once for each key, and what it makes never changes

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import get_type_hints

from gpdust.config import kinds
from gpdust.config.reading import check_known, plain_section, read_section, read_toml, require_section
from gpdust.config.sections import key
from gpdust.encoder.options import SCHEDULES, TrainingOptions
from gpdust.encoder.precision import PRECISIONS
from gpdust.encoder.scaling import CHANNELS, DENSITIES
from gpdust.encoder.symmetry import SYMMETRIES
from gpdust.encoder.vnet import NORMS
from gpdust.errors import ConfigError, EncoderError

_DEFAULT = TrainingOptions()


@dataclass(frozen=True)
class SimulationsSection:
    """[simulations]: the cubes to learn from; see `gpdust.simulate`."""

    recipe: str = key(kinds.text())
    count: int = key(kinds.whole(10), 10_000)
    seed: int = key(kinds.seed(), 0)
    cells: int = key(kinds.whole(2), 32)
    folder: Path | None = key(kinds.path(), None)


@dataclass(frozen=True)
class NetworkSection:
    """[network]: the net; see `VNetShape`."""

    width: int = key(kinds.whole(1), _DEFAULT.width)
    depth: int = key(kinds.whole(1), _DEFAULT.depth)
    norm: str = key(kinds.choice(NORMS), _DEFAULT.norm)
    inputs: tuple[str, ...] = key(kinds.some_of(CHANNELS), _DEFAULT.inputs)
    shortcut: str | None = key(kinds.choice(DENSITIES), _DEFAULT.shortcut)


@dataclass(frozen=True)
class TrainingSection:
    """[training]: how it learns; see `TrainingOptions`."""

    epochs: int = key(kinds.whole(1), _DEFAULT.epochs)
    batch: int = key(kinds.whole(1), _DEFAULT.batch)
    learning_rate: float = key(kinds.number(above=0), _DEFAULT.learning_rate)
    schedule: str = key(kinds.choice(SCHEDULES), _DEFAULT.schedule)
    symmetry: str = key(kinds.choice(SYMMETRIES), _DEFAULT.symmetry)
    seed: int = key(kinds.seed(), _DEFAULT.seed)
    split_seed: int = key(kinds.seed(), _DEFAULT.split_seed)
    mixed_precision: str = key(kinds.choice(PRECISIONS), _DEFAULT.mixed_precision)
    device: str = key(kinds.text(), _DEFAULT.device)
    accumulate: int | None = key(kinds.whole(1), None)
    workers: int = key(kinds.whole(0), _DEFAULT.workers)
    checkpoint_minutes: float = key(kinds.number(at_least=0), _DEFAULT.checkpoint_minutes)
    patience: int = key(kinds.whole(0), _DEFAULT.patience)


@dataclass(frozen=True)
class ObservationSection:
    """[observation]: how the cubes are seen; what is left out is as `Observation` has it."""

    exact_share: float | None = key(kinds.share(), None)
    neighbours: int | None = key(kinds.whole(1), None)
    stars: tuple[float, float] | None = key(kinds.interval("[1000, 100000]", at_least=1), None)
    fractional_error: tuple[float, float] | None = key(kinds.interval("[0.01, 0.1]", at_least=0), None)
    floor: float | None = key(kinds.number(at_least=0), None)
    limited_share: float | None = key(kinds.share(), None)
    gaps: int | None = key(kinds.whole(0), None)
    gap_radius: float | None = key(kinds.number(at_least=0), None)


@dataclass(frozen=True)
class OutputSection:
    """[output]: where the net goes."""

    folder: Path = key(kinds.path())


@dataclass(frozen=True)
class VNetConfig:
    """All that decides the training of a V-net.

    Attributes
    ----------
    simulations, network, training, observation, output : section
        The sections of the file, with defaults filled in. Relative folders count from that of the file.
    """

    simulations: SimulationsSection
    network: NetworkSection
    training: TrainingSection
    observation: ObservationSection
    output: OutputSection

    @classmethod
    def read(cls, path: str | os.PathLike) -> VNetConfig:
        """Read a TOML file.

        Raises
        ------
        ConfigError
            If there is no such file, it is not TOML, or a key or a value is not what it should be.
        """
        record = read_toml(path, "`gpdust train-vnet --help` shows one")
        return cls.from_dict(record, Path(path).parent, str(path))

    @classmethod
    def from_dict(
        cls, record: Mapping[str, object], folder: str | os.PathLike = ".", where: str = "the configuration"
    ) -> VNetConfig:
        """Check plain values and make a configuration of them; see `Config.from_dict`."""
        sections = get_type_hints(cls)
        check_known(record, sections, where, "section", "[{}]".format)
        given = {name: record.get(name, {}) for name in sections}
        for name, keys in given.items():
            require_section(keys, name, where)
        made = cls(**{name: read_section(section, given[name], name, where) for name, section in sections.items()})
        for section in (made.output, made.simulations):
            if section.folder is not None:
                object.__setattr__(section, "folder", Path(os.path.abspath(Path(folder) / section.folder)))
        made._check_together(where)
        return made

    @property
    def options(self) -> TrainingOptions:
        """Settings of the net and its training."""
        return TrainingOptions(**asdict(self.network), **asdict(self.training))

    @property
    def library_folder(self) -> Path:
        """Where the simulations are kept; beside the net, unless [simulations] says otherwise."""
        return self.simulations.folder or self.output.folder / "simulations"

    def as_dict(self) -> dict[str, dict[str, object]]:
        """Return plain values, for JSON or `from_dict`; keys that were left out are absent."""
        return {section.name: plain_section(getattr(self, section.name)) for section in fields(self)}

    def _check_together(self, where: str) -> None:
        try:
            shape = self.options.shape
        except EncoderError as error:
            raise ConfigError(f"{where}: [training] {error}") from None
        try:
            shape.check_cells((self.simulations.cells,) * 3)
        except EncoderError as error:
            raise ConfigError(f"{where}: [simulations] cells: {error}") from None
