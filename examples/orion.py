"""The dust of Orion from a mock survey, or from your own stars: python examples/orion.py --out orion.

The mock survey puts Orion A (395 pc, its tail 70 pc behind) and Orion B (400 and 425 pc) where they are known to be,
and measures stars as well as the catalogue of Fouesneau et al. (2022) does. With real stars:
--catalogue stars.fits --preset fouesneau2022.
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
parser.add_argument("--out", type=Path, default=Path("orion"), help="folder for maps and figures")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--quick", action="store_true", help="few stars and a coarse map, to see it run")
arguments = parser.parse_args()
mpl.use("agg")
arguments.out.mkdir(parents=True, exist_ok=True)
n_stars, inducing, cells, map_cells = (
    (5_000, 150, (9, 8, 10), (36, 32, 30)) if arguments.quick else (120_000, 800, (20, 17, 28), (54, 48, 75))
)

orion = MOCK_REGIONS["orion"]
region = gpdust.Region(
    (200, 218) * u.deg, (-25, -9) * u.deg, (330, 480) * u.pc, foreground_cells=3, background=20 * u.pc
)
if arguments.catalogue:
    try:
        stars = gpdust.StarCatalogue.read(arguments.catalogue, preset=arguments.preset)
    except (gpdust.GpdustError, OSError) as error:
        raise SystemExit(f"can't read {arguments.catalogue}: {error}") from None
else:
    stars = orion.survey(n_stars, arguments.seed).catalogue
stars = stars.select(l=region.l, b=region.b)
print(stars.summary())

prior = gpdust.InducingGP(
    inducing=inducing, length_scale=orion.length_scale, amplitude=orion.amplitude.value, mean_density=orion.mean_density
)
model = gpdust.DustModel(stars, region.grid(shape=cells), prior)
posterior = gpdust.fit(model, seed=arguments.seed)
print(posterior.report, posterior.hyperparameter_table(), sep="\n")

maps = posterior.percentiles([16, 50, 84], region.grid(shape=map_cells, b_spacing="uniform"))
maps.write(arguments.out / "maps.fits")
posterior.save(arguments.out / "posterior")
distances = [375, 395, 410, 425, 440, 460] * u.pc
save_figure(maps.plot_slices(distances), arguments.out / "slices.png")
save_figure(plot_uncertainty(maps, distances), arguments.out / "uncertainty.png")
save_figure(maps.plot_extinction(), arguments.out / "extinction.png")
nebula = SkyCoord(209.0 * u.deg, -19.4 * u.deg, 395 * u.pc, frame="galactic")
save_figure(plot_sightline(maps, nebula.l, nebula.b, stars), arguments.out / "orion_nebula.png")
save_figure(plot_trace(posterior.trace), arguments.out / "trace.png")

density, extinction = posterior.query(nebula)
print(f"at the Orion Nebula, {nebula.distance:.0f}: density {density}, extinction {extinction}")
print(f"maps and figures are in {arguments.out}")
