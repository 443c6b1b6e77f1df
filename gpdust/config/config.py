"""A configuration: read from TOML, checked key by key, and written back as plain values."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import get_type_hints

from gpdust.config.reading import check_known, plain_section, read_section, read_toml, read_value, require_section
from gpdust.config.sections import (
    AUTO,
    FORMS,
    INDUCING_ENGINES,
    CatalogueSection,
    FitSection,
    Forms,
    GridSection,
    LikelihoodSection,
    MapsSection,
    NewtonSection,
    PriorSection,
    RegionSection,
    SVISection,
)
from gpdust.errors import ConfigError


@dataclass(frozen=True, eq=False)
class Config:
    """All that decides a fit and its products.

    Attributes
    ----------
    catalogue, region, grid, prior, likelihood, fit, maps : section
        The sections of the file, with defaults filled in and units attached. What keys [prior] and [fit] have depends
        on the kind of prior and on the engine.

    Examples
    --------
    >>> config = Config.from_dict(
    ...     {"catalogue": {"path": "stars.fits"}, "region": {"l": [50, 90], "b": [-10, 10], "distance": [180, 500]}}
    ... )
    >>> config.region.distance
    <Quantity [180., 500.] pc>
    >>> config.grid.shape
    (20, 20, 35)
    """

    catalogue: CatalogueSection
    region: RegionSection
    grid: GridSection
    prior: PriorSection
    likelihood: LikelihoodSection
    fit: FitSection
    maps: MapsSection

    @classmethod
    def read(cls, path: str | os.PathLike) -> Config:
        """Read a TOML file.

        Parameters
        ----------
        path : path-like
            Paths in the file count from its folder.

        Raises
        ------
        ConfigError
            If there is no such file, it is not TOML, or a key or a value is not what it should be.
        """
        path = Path(path)
        record = read_toml(path, "`gpdust init CATALOGUE` writes one")
        return cls.from_dict(record, path.parent, str(path))

    @classmethod
    def from_dict(
        cls, record: Mapping[str, object], folder: str | os.PathLike = ".", where: str = "the configuration"
    ) -> Config:
        """Check plain values and make a configuration of them.

        Parameters
        ----------
        record : mapping
            Section -> key -> plain value, as TOML gives it.
        folder : path-like
            Where relative paths count from.
        where : str
            What errors call the configuration.

        Raises
        ------
        ConfigError
            Naming section and key; an unknown one with the nearest known.
        """
        sections = get_type_hints(cls)
        check_known(record, sections, where, "section", "[{}]".format)
        fit = sections.pop("fit")
        made = {name: _section(section, record.get(name, {}), name, where) for name, section in sections.items()}
        made["fit"] = _section(fit, _meant(record.get("fit", {}), made["prior"], where), "fit", where)
        stars = made["catalogue"]
        made["catalogue"] = replace(stars, path=Path(os.path.abspath(Path(folder) / stars.path)))
        config = cls(**made)
        _check_engine(config, where)
        _check_foreground(config, where)
        return config

    def as_dict(self) -> dict[str, dict[str, object]]:
        """Return plain values in the units of the file, for JSON or `from_dict`; keys that were left out are absent."""
        return {section.name: plain_section(getattr(self, section.name)) for section in fields(self)}


def _section(section: type, given: object, name: str, where: str) -> object:
    """Check the keys of one section and make it."""
    require_section(given, name, where)
    if forms := FORMS.get(name):
        section = _form(forms, given, name, where)
    made = read_section(section, given, name, where)
    if isinstance(made, PriorSection | LikelihoodSection):
        try:
            made.check()
        except ValueError as error:
            raise ConfigError(f"{where}: [{name}] {error}") from None
    return made


def _form(forms: Forms, given: Mapping[str, object], name: str, where: str) -> type:
    """The form of a section that is meant; a key that only others have is refused, saying so."""
    check_known(given, forms.keys(), f"{where}: [{name}]", "key", repr)
    choice = forms.choose(given)
    if not isinstance(choice, str) or choice not in forms.of:
        of_key = next(iter(forms.of.values())).__dataclass_fields__[forms.key]
        read_value(of_key.metadata["kind"], choice, name, forms.key, where)  # raises
    for key in given:
        if choice not in (owners := forms.owners(key)):
            *others, last = (f'"{owner}"' for owner in owners)
            wanted = f"{', '.join(others)} or {last}" if others else last
            why = "" if forms.key in given else f" (as the key '{forms.telling(given)}' says)"
            raise ConfigError(
                f"{where}: [{name}] {key} goes with {forms.key} = {wanted}, but here it is "
                f'"{choice}"{why}; leave {key} out, or change {forms.key}'
            )
    return forms.of[choice]


def _meant(fit: object, prior: PriorSection, where: str) -> object:
    """[fit] with the engine "svi" in place of "auto" where inducing points are learned: it has keys of its own."""
    if not (isinstance(fit, Mapping) and getattr(prior, "learn_inducing", False) and fit.get("engine", AUTO) == AUTO):
        return fit
    for key in fit:
        if key in NewtonSection.__dataclass_fields__ and key not in SVISection.__dataclass_fields__:
            raise ConfigError(
                f'{where}: [fit] {key} is no setting of engine "svi", which [prior] learn_inducing = true takes; '
                f"leave {key} out"
            )
    return {**fit, "engine": "svi"}


def _check_engine(config: Config, where: str) -> None:
    """Refuse an engine that can't fit the prior, or can't learn what is to be learned."""
    prior, likelihood, fit = config.prior, config.likelihood, config.fit
    if fit.engine in INDUCING_ENGINES and prior.kind != "inducing":
        raise ConfigError(
            f'{where}: [fit] engine "{fit.engine}" needs [prior] kind = "inducing", but it is "{prior.kind}"; '
            'take engine = "mgvi" or "auto", or a prior on inducing points'
        )
    if getattr(prior, "learn_inducing", False) and fit.engine != "svi":
        raise ConfigError(
            f'{where}: [prior] learn_inducing = true needs [fit] engine = "svi", but it is "{fit.engine}"; '
            "the other engines leave inducing points where they are"
        )
    if fit.engine == "svi" and (learned := likelihood.learned()):
        default = {key: ", its default" if getattr(likelihood, key) is None else "" for key in learned}
        asked = "; ".join(f'{key} = "learn"{words}' for key, words in default.items())
        raise ConfigError(
            f"{where}: [fit] engine \"svi\" can't learn the stars' noise ([likelihood] {asked}); "
            'give numbers there, or take engine = "natural" or "mgvi", which learn it but no inducing points'
        )


def _check_foreground(config: Config, where: str) -> None:
    """Refuse a density of the foreground where there is none."""
    if config.likelihood.foreground_density is not None and config.region.foreground_cells == 0:
        raise ConfigError(
            f"{where}: [likelihood] foreground_density is that of cells in front of the region, but there are none; "
            'take [region] foreground_cells = "auto", or leave foreground_density out'
        )
