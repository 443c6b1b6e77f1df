"""Figures of maps on the sky and from above: the right numbers in the right places, with units."""

from itertools import pairwise

import astropy.units as u
import matplotlib
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm, Normalize

from gpdust.errors import GridError, MissingUnitError, PosteriorError
from gpdust.grid import HealpixGrid, RayGrid, Region
from gpdust.plot import plot_extinction, plot_slices, plot_top_down, plot_uncertainty, save_figure
from gpdust.plot.topdown import column_density
from gpdust.posterior.maps import PercentileMaps

REGION = Region(l=(340, 20) * u.deg, b=(-10, 20) * u.deg, distance=(100, 400) * u.pc)
GRID = REGION.grid((5, 4, 6))


def make_maps(grid=GRID, percentiles=(16.0, 50.0, 84.0), meta=None) -> PercentileMaps:
    rng = np.random.default_rng(0)
    density = np.sort(rng.lognormal(-7, 1, (len(percentiles), *grid.shape)), axis=0)
    return PercentileMaps(grid, percentiles, density, np.cumsum(density, axis=-1), meta or {})


@pytest.fixture(autouse=True)
def _close_figures():
    settings = dict(matplotlib.rcParams)
    yield
    plt.close("all")
    assert dict(matplotlib.rcParams) == settings


def mesh_of(axes) -> QuadMesh:
    (mesh,) = [item for item in axes.collections if isinstance(item, QuadMesh)]
    return mesh


def colour_bar_label(axes) -> str:
    bar = mesh_of(axes).colorbar
    return bar.ax.get_ylabel() or bar.ax.get_xlabel()


def test_slices_draw_the_cells_around_the_distances():
    maps = make_maps()
    panels = plot_slices(maps, [101, 0.26e3, 400] * u.pc, percentile=84)
    assert panels.shape == (3,)
    for panel, cell, title in zip(panels, (0, 3, 5), ("101 pc", "260 pc", "400 pc"), strict=True):
        assert_array_equal(mesh_of(panel).get_array(), GRID.cube(maps.density_values[2])[cell])
        assert panel.get_title() == title
        assert panel.xaxis_inverted()
        assert not panel.yaxis_inverted()
        corners = mesh_of(panel).get_coordinates()
        assert_allclose(corners[0, :, 0], GRID.l_edges.value)
        assert_allclose(corners[:, 0, 1], GRID.b_edges.value)
    assert panels[0].get_ylabel() == "$b$ / deg"
    assert panels[0].get_xlabel() == "$l$ / deg"
    assert colour_bar_label(panels[0].figure.axes[2]) == r"density / ($\mathrm{mag\ pc^{-1}}$)"


def test_slices_share_one_logarithmic_scale():
    maps = make_maps()
    panels = plot_slices(maps, [120, 320] * u.pc)
    norms = [mesh_of(panel).norm for panel in panels]
    assert norms[0] is norms[1]
    drawn = maps.density_values[1][:, [0, 4]]
    assert isinstance(norms[0], LogNorm)
    assert_allclose([norms[0].vmin, norms[0].vmax], [drawn.min(), drawn.max()])


def test_empty_space_has_the_lowest_colour():
    maps = make_maps()
    maps.density_values[1, 0, 0] = 0
    mesh = mesh_of(plot_slices(maps, 120 * u.pc)[0])
    assert mesh.norm.vmin > 0
    assert not np.ma.is_masked(mesh.norm(mesh.get_array()))
    maps.density_values[:] = 0
    assert_array_equal(mesh_of(plot_slices(maps, 120 * u.pc)[0]).get_array(), 0)


def test_colour_bars_have_room_for_their_labels():
    maps = make_maps()
    for decades in (0.5, 0.9, 1.3, 1.9, 3.5):
        maps.density_values[1, :, 0] = np.geomspace(4.5e-4, 4.5e-4 * 10**decades, GRID.n_rays)
        bar = mesh_of(plot_slices(maps, 120 * u.pc)[0]).colorbar
        bar.ax.figure.canvas.draw()
        axis = bar.ax.xaxis
        ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
        boxes = [
            tick.label1.get_window_extent() for tick in ticks if tick.label1.get_text() and tick.label1.get_visible()
        ]
        spans = sorted((box.x0, box.x1) for box in boxes)
        assert len(spans) >= 2
        assert all(left[1] < right[0] for left, right in pairwise(spans))


def test_norm_of_the_callers_own():
    norm = Normalize(0, 3)
    assert mesh_of(plot_slices(make_maps(), 120 * u.pc, norm=norm)[0]).norm is norm
    linear = mesh_of(plot_slices(make_maps(), 120 * u.pc, norm="linear")[0]).norm
    assert linear.vmin == 0
    with pytest.raises(PosteriorError, match="'cube'"):
        plot_slices(make_maps(), 120 * u.pc, norm="cube")


@pytest.mark.parametrize(("n", "shape"), [(1, (1, 1)), (4, (1, 4)), (5, (2, 3)), (8, (2, 4)), (9, (3, 3))])
def test_rasters_are_four_wide_at_most(n, shape):
    panels = plot_slices(make_maps(), np.linspace(100, 400, n) * u.pc)
    assert panels.shape == (n,)
    grid = panels[0].get_gridspec()
    assert (grid.nrows, grid.ncols) == shape
    assert len(panels[0].figure.axes) == n + 1
    for k, panel in enumerate(panels):
        assert bool(panel.get_ylabel()) == (k % shape[1] == 0)
        assert bool(panel.get_xlabel()) == (k + shape[1] >= n)


def test_truth_is_drawn_below():
    maps = make_maps()
    truth = maps.density[0] * 2
    panels = plot_slices(maps, [120, 180, 220, 270, 320] * u.pc, truth=truth.to("mag / kpc"))
    assert panels.shape == (2, 5)
    assert_allclose(mesh_of(panels[1, 4]).get_array(), GRID.cube(truth.value)[4])
    assert_array_equal(mesh_of(panels[0, 4]).get_array(), GRID.cube(maps.density_values[1])[4])
    assert [panels[0, 3].get_title(), panels[1, 3].get_title()] == ["270 pc", "270 pc, truth"]
    for above, below in panels.T:
        assert above.get_position().x0 == pytest.approx(below.get_position().x0)
        assert above.get_position().y0 > below.get_position().y1
    with pytest.raises(PosteriorError, match="truth has shape"):
        plot_slices(maps, 120 * u.pc, truth=truth[1:])
    with pytest.raises(MissingUnitError):
        plot_slices(maps, 120 * u.pc, truth=truth.value)


def test_given_axes_are_used():
    figure, axes = plt.subplots(1, 2)
    panels = plot_slices(make_maps(), [120, 320] * u.pc, axes=axes)
    assert list(panels) == list(axes)
    assert [panel.get_ylabel() for panel in panels] == ["$b$ / deg"] * 2
    assert plt.get_fignums() == [figure.number]
    with pytest.raises(PosteriorError, match="3 panels, but 2 axes"):
        plot_slices(make_maps(), [120, 220, 320] * u.pc, axes=axes)
    _, single = plt.subplots()
    assert plot_extinction(make_maps(), axes=single) is single
    _, single = plt.subplots()
    assert plot_top_down(make_maps(), axes=single) is single


def test_longitudes_across_the_centre_are_named_by_their_angle():
    panel = plot_slices(make_maps(), 120 * u.pc)[0]
    panel.figure.canvas.draw()
    low, high = sorted(panel.get_xlim())
    shown = [
        label.get_text()
        for label, tick in zip(panel.get_xticklabels(), panel.get_xticks(), strict=True)
        if low <= tick <= high
    ]
    assert shown == ["340", "350", "0", "10", "20"]


def test_extinction():
    maps = make_maps(meta={"band": "547 nm", "quantity": "A0"})
    axes = plot_extinction(maps)
    assert_array_equal(mesh_of(axes).get_array(), GRID.cube(maps.extinction_values[1])[-1])
    assert axes.get_title() == "to 400 pc"
    assert colour_bar_label(axes) == r"extinction $A_{\mathrm{0}}$ (547 nm) / $\mathrm{mag}$"
    axes = plot_extinction(maps, 210 * u.pc, percentile=16)
    assert axes.get_title() == "to 200 pc"
    assert_array_equal(mesh_of(axes).get_array(), GRID.cube(maps.extinction_values[0])[1])
    assert maps.plot_extinction(norm="log").get_title() == "to 400 pc"


def test_uncertainty():
    maps = make_maps()
    (panel,) = plot_uncertainty(maps, 120 * u.pc)
    low, median, high = maps.density_values
    assert_allclose(mesh_of(panel).get_array(), GRID.cube((high - low) / 2 / median)[0])
    assert colour_bar_label(panel).startswith("relative uncertainty of density")
    with pytest.raises(PosteriorError, match="not 16"):
        plot_uncertainty(make_maps(percentiles=(2.5, 50, 97.5)), 120 * u.pc)


def test_requests_that_the_maps_cannot_meet():
    with pytest.raises(PosteriorError, match="500 pc lies outside"):
        plot_slices(make_maps(), [120, 500] * u.pc)
    with pytest.raises(PosteriorError, match="not 2"):
        plot_slices(make_maps(), 120 * u.pc, percentile=2)
    rays = RayGrid([1, 2] * u.deg, [0, 0] * u.deg, [0, 100, 200] * u.pc)
    with pytest.raises(PosteriorError, match="bare set of rays"):
        plot_slices(make_maps(rays), 120 * u.pc)
    assert not plt.get_fignums()


@pytest.mark.parametrize("order", ["ring", "nested"])
def test_healpix_pixels_are_drawn_where_they_lie(order):
    grid = REGION.healpix_grid(16, 4, order)
    maps = make_maps(grid)
    (panel,) = plot_slices(maps, 110 * u.pc)
    mesh = mesh_of(panel)
    corners, image = mesh.get_coordinates(), np.ma.filled(mesh.get_array(), np.nan)
    l_edges, b_edges = corners[0, :, 0], corners[:, 0, 1]
    for ray in range(grid.n_rays):
        i_l = np.searchsorted(l_edges, l_edges[0] + (grid.l[ray].value - l_edges[0]) % 360) - 1
        i_b = np.searchsorted(b_edges, grid.b[ray].value) - 1
        assert image[i_b, i_l] == maps.density_values[1, ray, 0]
    assert np.isnan(image).any()
    assert np.ptp(l_edges) < 60
    assert panel.xaxis_inverted()


def test_the_whole_healpix_sky_is_centred_on_the_galactic_centre():
    axes = plot_extinction(make_maps(HealpixGrid(4, [0, 10, 20] * u.pc)))
    assert axes.get_xlim() == (180, -180)
    assert not np.isnan(np.ma.filled(mesh_of(axes).get_array(), np.nan)).any()


def test_column_density_of_a_uniform_sphere_is_its_chord():
    grid = HealpixGrid(4, np.linspace(0, 100, 3) * u.pc)
    x, y, column = column_density(grid, np.full(grid.shape, 0.01))
    x, y = np.meshgrid((x[1:] + x[:-1]) / 2, (y[1:] + y[:-1]) / 2)
    radius = np.hypot(x, y)
    inside = radius < 95
    assert_allclose(column[inside], 0.02 * np.sqrt(100**2 - radius[inside] ** 2), atol=0.03)
    assert np.isnan(column[radius > 101]).all()


def test_column_density_puts_dust_where_it_is():
    grid = Region(l=(80, 100) * u.deg, b=(-20, 20) * u.deg, distance=(100, 300) * u.pc).grid((5, 4, 10))
    density = np.zeros(grid.shape)
    density[grid.locate_rays(np.array(90.0), np.array(5.0)), 5] = 1  # x = 0, y = 210
    x, y, column = column_density(grid, density)
    i_y, i_x = np.nonzero(np.nan_to_num(column))
    assert (np.abs(x[i_x]) < 10).all()
    assert ((y[i_y] > 180) & (y[i_y] < 222)).all()
    pixel = (x[1] - x[0]) * (y[1] - y[0])
    volume = grid.cell_volumes[grid.locate_rays(np.array(90.0), np.array(5.0)), 5]
    assert_allclose(np.nansum(column) * pixel, volume, rtol=0.03)


def test_top_down_axes():
    axes = plot_top_down(make_maps())
    assert axes.get_ylabel() == "$y$ / pc"
    assert axes.get_xlabel().endswith("/ pc")
    assert colour_bar_label(axes) == r"vertical extinction / $\mathrm{mag}$"
    rays = RayGrid([1, 2] * u.deg, [0, 0] * u.deg, [0, 100, 200] * u.pc)
    with pytest.raises(GridError):
        plot_top_down(make_maps(rays))


def test_save(tmp_path):
    panels = plot_slices(make_maps(), [120, 320] * u.pc)
    for number, figure in enumerate((panels, panels[0], panels[0].figure)):
        path = save_figure(figure, tmp_path / "new" / f"{number}.png")
        assert path.read_bytes().startswith(b"\x89PNG")
        assert plt.imread(path).shape[1] > 600
    assert sorted(file.name for file in (tmp_path / "new").iterdir()) == ["0.png", "1.png", "2.png"]
