"""The dust of Taurus from a mock survey, or from your own stars: python examples/taurus.py --out taurus.

The mock survey puts the clouds of Taurus at their known distances, from TMC 2 (115–145 pc) by L1498 (195 pc) to the
filament towards Perseus (222–250 pc), and measures stars as well as the catalogue of Fouesneau et al. (2022) does.
With real stars: --catalogue stars.fits --preset fouesneau2022.
"""

import argparse
from pathlib import Path

import astropy.units as u
import matplotlib as mpl
from astropy.coordinates import SkyCoord

import gpdust
from gpdust.plot import plot_sightline, plot_trace, plot_uncertainty, save_figure
from gpdust.simulate import MOCK_REGIONS

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--catalogue", help="stars in FITS, VOTable, CSV, Parquet or HDF5; a mock survey by default")
parser.add_argument("--preset", default="fouesneau2022", help="which published catalogue it is")
parser.add_argument("--out", type=Path, default=Path("taurus"), help="folder for maps and figures")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--quick", action="store_true", help="few stars and a coarse map, to see it run")
arguments = parser.parse_args()
mpl.use("agg")
arguments.out.mkdir(parents=True, exist_ok=True)
n_stars, inducing, cells, map_cells = (
    (5_000, 150, (10, 7, 17), (28, 20, 34)) if arguments.quick else (150_000, 800, (20, 14, 34), (56, 40, 85))
)

taurus = MOCK_REGIONS["taurus"]
region = gpdust.Region(
    (163, 177) * u.deg, (-21, -11) * u.deg, (90, 260) * u.pc, foreground_cells=2, background=5 * u.pc
)
if arguments.catalogue:
    try:
        stars = gpdust.StarCatalogue.read(arguments.catalogue, preset=arguments.preset)
    except (gpdust.GpdustError, OSError) as error:
        raise SystemExit(f"can't read {arguments.catalogue}: {error}") from None
else:
    stars = taurus.survey(n_stars, arguments.seed).catalogue
stars = stars.select(l=region.l, b=region.b)
print(stars.summary())

prior = gpdust.InducingGP(
    inducing=inducing,
    length_scale=taurus.length_scale,
    amplitude=taurus.amplitude.value,
    mean_density=taurus.mean_density,
)
model = gpdust.DustModel(stars, region.grid(shape=cells), prior)
posterior = gpdust.fit(model, seed=arguments.seed)
print(posterior.report, posterior.hyperparameter_table(), sep="\n")

maps = posterior.percentiles([16, 50, 84], region.grid(shape=map_cells, b_spacing="uniform"))
maps.write(arguments.out / "maps.fits")
posterior.save(arguments.out / "posterior")
distances = [125, 140, 165, 195, 208, 240] * u.pc
save_figure(maps.plot_slices(distances), arguments.out / "slices.png")
save_figure(plot_uncertainty(maps, distances), arguments.out / "uncertainty.png")
save_figure(maps.plot_extinction(), arguments.out / "extinction.png")
tmc2 = SkyCoord(174.0 * u.deg, -15.8 * u.deg, 130 * u.pc, frame="galactic")
save_figure(plot_sightline(maps, tmc2.l, tmc2.b, stars), arguments.out / "tmc2.png")
save_figure(plot_trace(posterior.trace), arguments.out / "trace.png")

density, extinction = posterior.query(tmc2)
print(f"in TMC 2, {tmc2.distance:.0f}: density {density}, extinction {extinction}")
print(f"maps and figures are in {arguments.out}")
