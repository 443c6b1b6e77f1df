"""Mock star-forming regions: Orion, Taurus, Perseus and Cygnus X as a few simple shapes each, for the examples.

Places and distances follow what Dharmawardena et al. (2022), sections 5 and 6, say in words, and for single clouds the
papers that they are cited with below. Sizes, peaks and whatever the papers leave open (such as how far a filament goes
in latitude) are our choice, so that total extinctions are a few magnitudes. These are playgrounds, not maps.
"""

from __future__ import annotations

from dataclasses import dataclass

import astropy.units as u
import numpy as np

from gpdust.grid import Region
from gpdust.grid.coordinates import cartesian
from gpdust.simulate.components import ExponentialDisc, Filament, GaussianClump, Shell
from gpdust.simulate.density import SumDensity, TrueDensity
from gpdust.simulate.errormodel import ErrorModel
from gpdust.simulate.survey import TRUTH_SHAPE, MockSurvey, mock_survey
from gpdust.units import DENSITY, MAGNITUDE, PARSEC

PAPER = "Dharmawardena et al. 2022, A&A 658, A166"
ZUCKER = "Zucker et al. 2020, A&A 633, A51"

#: The median error in these regions in the catalogue of Fouesneau et al. (2022) is 0.34 mag (the paper's section 4).
FOUESNEAU_ERRORS = ErrorModel(fraction=0.1, floor=0.34 * MAGNITUDE)


@dataclass(frozen=True, eq=False)
class MockRegion:
    """A star-forming region to play with.

    Attributes
    ----------
    name : str
        What to call it.
    region : Region
        Where to look.
    density : TrueDensity
        Its dust.
    length_scale, amplitude, mean_density : Quantity
        Where to start the hyperparameters of a fit: pc, dex and mag/pc.
    reference : str
        Where the places of its clouds come from.
    """

    name: str
    region: Region
    density: TrueDensity
    length_scale: u.Quantity
    amplitude: u.Quantity
    mean_density: u.Quantity
    reference: str

    def survey(
        self,
        n_stars: int,
        seed: int,
        *,
        errors: ErrorModel = FOUESNEAU_ERRORS,
        shape: tuple[int, int, int] = TRUTH_SHAPE,
    ) -> MockSurvey:
        """Observe the region; see `mock_survey`. The errors resemble those of Fouesneau et al. (2022) by default."""
        return mock_survey(
            self.density,
            self.region,
            n_stars,
            seed,
            errors=errors,
            shape=shape,
            band="547 nm",
            quantity="A0",
            reference=f"mock {self.name} after {self.reference}, seed {seed}",
        )


def _at(l: float, b: float, distance: float) -> u.Quantity:
    return cartesian(np.deg2rad(l), np.deg2rad(b), distance) * PARSEC


def _disc(midplane: float) -> ExponentialDisc:
    return ExponentialDisc(midplane * DENSITY, 120 * PARSEC)


def _clump(l: float, b: float, distance: float, sigma: float, peak: float) -> GaussianClump:
    return GaussianClump(_at(l, b, distance), sigma * PARSEC, peak * DENSITY)


def _shell(l: float, b: float, distance: float, radius: float, thickness: float, peak: float) -> Shell:
    return Shell(_at(l, b, distance), radius * PARSEC, thickness * PARSEC, peak * DENSITY)


def _filament(
    start: tuple[float, float, float], end: tuple[float, float, float], width: float, peak: float
) -> Filament:
    return Filament(_at(*start), _at(*end), width * PARSEC, peak * DENSITY)


ORION = MockRegion(
    name="Orion",
    region=Region((180, 218) * u.deg, (-25, -3) * u.deg, (250, 500) * u.pc, foreground_cells=3, background=50 * u.pc),
    density=SumDensity(
        _disc(1e-3),
        # Orion A: head near the Nebula, tail 70 pc behind it (Großschedl et al. 2018)
        _filament((208.5, -19.4, 395), (214.0, -19.6, 465), 5, 0.08),
        _clump(209.0, -19.4, 395, 6, 0.08),
        _shell(215.0, -20.0, 405, 20, 4, 0.02),  # the bubble at its edge, 380–430 pc
        _clump(206.5, -16.3, 425, 6, 0.13),  # Orion B, component 1
        _clump(205.3, -14.3, 400, 7, 0.08),  # Orion B, component 2
        _filament((206.0, -18.5, 440), (209.5, -15.5, 415), 6, 0.015),  # the arc between A and B
        _shell(195.1, -12.0, 400, 33, 6, 0.025),  # λ Orionis, and the peak in the middle of its ring
        _clump(195.1, -12.0, 375, 7, 0.03),
        _filament((186.0, -19.0, 275), (186.5, -7.0, 295), 6, 0.02),  # the λ filament
    ),
    length_scale=10 * u.pc,
    amplitude=0.6 * u.dex,
    mean_density=1e-3 * DENSITY,
    reference=f"{PAPER}; Großschedl et al. 2018, A&A 619, A106",
)

TAURUS = MockRegion(
    name="Taurus",
    region=Region((162, 180) * u.deg, (-22, -10) * u.deg, (90, 260) * u.pc, foreground_cells=2, background=40 * u.pc),
    density=SumDensity(
        _disc(1e-3),
        _filament((174.0, -16.0, 115), (174.0, -15.5, 145), 3, 0.05),  # TMC 2, main component
        _filament((171.5, -14.0, 150), (174.0, -13.5, 185), 4, 0.05),  # TMC 1
        _clump(170.0, -19.0, 195, 4, 0.1),  # L1498
        _filament((171.0, -18.5, 197), (173.0, -17.0, 218), 4, 0.03),  # B215 and L1506
        _filament((165.5, -17.0, 222), (164.5, -17.0, 250), 5, 0.025),  # the Taurus filament, towards Perseus
    ),
    length_scale=8 * u.pc,
    amplitude=0.6 * u.dex,
    mean_density=1e-3 * DENSITY,
    reference=PAPER,
)

PERSEUS = MockRegion(
    name="Perseus",
    region=Region((154, 168) * u.deg, (-26, -7) * u.deg, (230, 400) * u.pc, foreground_cells=3, background=120 * u.pc),
    density=SumDensity(
        _disc(1e-3),
        _clump(160.0, -18.0, 320, 5, 0.12),  # IC 348
        _clump(158.2, -20.4, 300, 5, 0.12),  # NGC 1333
        _clump(160.0, -17.2, 328, 5, 0.06),  # the clump above IC 348; 331 ± 16 pc in Zucker et al. (2020)
        _filament((164.5, -17.0, 300), (161.5, -18.0, 328), 5, 0.025),  # the Taurus filament
        _filament((162.5, -11.0, 255), (160.5, -15.5, 345), 6, 0.01),  # the California filament
        _filament((156.5, -24.5, 300), (158.0, -21.5, 302), 6, 0.02),  # the Perseus filament
        _filament((160.5, -8.0, 470), (166.0, -9.0, 475), 8, 0.06),  # the California cloud, behind the region
    ),
    length_scale=10 * u.pc,
    amplitude=0.6 * u.dex,
    mean_density=1e-3 * DENSITY,
    reference=f"{PAPER}; {ZUCKER}",
)

CYGNUS_X = MockRegion(
    name="Cygnus X",
    region=Region((76, 84) * u.deg, (-3, 4) * u.deg, (1200, 1600) * u.pc, foreground_cells=4, background=100 * u.pc),
    density=SumDensity(
        _disc(1.5e-3),
        _clump(79.0, 0.0, 1350, 20, 0.05),  # Cygnus X South
        _clump(78.0, 1.0, 1330, 15, 0.03),
        _clump(81.5, 0.7, 1500, 20, 0.06),  # Cygnus X North
        _clump(80.3, 1.5, 1470, 15, 0.03),
        # small clouds along the line of sight
        _clump(77.2, -1.4, 1260, 12, 0.03),
        _clump(82.8, 2.2, 1400, 12, 0.03),
        _clump(80.6, -1.5, 1570, 12, 0.03),
    ),
    length_scale=20 * u.pc,
    amplitude=0.5 * u.dex,
    mean_density=2e-3 * DENSITY,
    reference=PAPER,
)

#: All mock regions by the name that configurations use.
MOCK_REGIONS: dict[str, MockRegion] = {
    "orion": ORION,
    "taurus": TAURUS,
    "perseus": PERSEUS,
    "cygnus_x": CYGNUS_X,
}
