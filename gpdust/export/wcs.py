"""World coordinates of the image cubes of a spherical grid, where they can be told truly.

Longitude and latitude are Galactic, in a cylindrical projection around the point (middle of the map, b = 0), which is
exactly linear in l: plate carrée (CAR) where cells are even in b, equal-area (CEA) where they are even in sin b. In
either, the edges of pixels are the edges of cells. Any other spacing has no simple WCS, and a wrong one is worse than
none: the tables of edges tell it all.
"""

from __future__ import annotations

import numpy as np
from astropy.io import fits

from gpdust.grid import SphericalGrid
from gpdust.units import DEGREE, as_array

TOLERANCE = 1e-6  # of a cell: by how much edges may miss an even spacing


def wcs_header(grid: SphericalGrid, at_outer_edge: bool) -> fits.Header:
    """Cards for an image cube (distance, b, l).

    Parameters
    ----------
    grid : SphericalGrid
        The cells.
    at_outer_edge : bool
        Whether values hold at the outer edges of cells, like extinctions, rather than in all of the cell.

    Returns
    -------
    Header
        A three-axis WCS, or a comment that says why there is none.
    """
    l_edges, b_edges = as_array(grid.l_edges, DEGREE, "l_edges"), as_array(grid.b_edges, DEGREE, "b_edges")
    sin_b = np.degrees(np.sin(np.radians(b_edges)))
    if not _even(l_edges):
        return _comment("No WCS: cells are not even in longitude. See L_EDGES.")
    if _even(b_edges):
        projection, heights = "CAR", b_edges
    elif _even(sin_b):
        projection, heights = "CEA", sin_b
    else:
        return _comment("No WCS: cells are even neither in b nor in sin b. See B_EDGES.")
    header = fits.Header([("WCSAXES", 3, "longitude, latitude, distance")])
    # Pixel 1 reaches from 0.5 to 1.5, so that edge number i (from 0) lies at i + 0.5.
    middle = (l_edges[0] + l_edges[-1]) / 2 % 360
    _axis(header, 1, f"GLON-{projection}", "deg", middle, l_edges.size / 2, _step(l_edges))
    _axis(header, 2, f"GLAT-{projection}", "deg", 0.0, 0.5 - heights[0] / _step(heights), _step(heights))
    _distance_axis(header, grid.edges, at_outer_edge)
    return header


def _distance_axis(header: fits.Header, edges: np.ndarray, at_outer_edge: bool) -> None:
    if not _even(edges):
        _axis(header, 3, "CELL", "", 1.0, 1.0, 1.0)
        header["COMMENT"] = "Axis 3 counts cells: they are not even in distance. See D_EDGES."
    elif at_outer_edge:
        _axis(header, 3, "DIST", "pc", edges[1], 1.0, _step(edges))
    else:
        _axis(header, 3, "DIST", "pc", (edges[0] + edges[1]) / 2, 1.0, _step(edges))
    header["COMMENT"] = (
        "Values hold at the OUTER EDGE of each cell; so does axis 3 if in pc."
        if at_outer_edge
        else "Values are means over cells; axis 3 gives their middle if in pc."
    )


def _axis(header: fits.Header, n: int, kind: str, unit: str, value: float, pixel: float, step: float) -> None:
    cards = {"CTYPE": kind, "CUNIT": unit, "CRVAL": float(value), "CRPIX": float(pixel), "CDELT": float(step)}
    header.update({f"{key}{n}": card for key, card in cards.items()})


def _step(edges: np.ndarray) -> float:
    return (edges[-1] - edges[0]) / (edges.size - 1)


def _even(edges: np.ndarray) -> bool:
    even = np.linspace(edges[0], edges[-1], edges.size)
    return bool(np.abs(edges - even).max() <= TOLERANCE * _step(edges))


def _comment(text: str) -> fits.Header:
    return fits.Header([("COMMENT", text)])
