"""Published catalogues: what their columns are called, and their units where the file leaves them off."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

Columns = Mapping[str, str | tuple[str, str]]


@dataclass(frozen=True)
class Preset:
    """How a published catalogue is read.

    Column names of a preset match without regard to case, since archives differ in it.

    Attributes
    ----------
    name : str
        What to give as ``preset=``.
    columns : mapping of str to str or (str, str)
        gpdust's name of a quantity -> the column, or the (p16, p84) pair of columns for an error.
        ``"name[3]"`` is the fourth element of a vector column.
    units : mapping of str to str
        Units, used only where the file has none.
    band, quantity : str
        What the extinction is: a wavelength or passband, and a symbol.
    reference : str
        The paper.
    note, quality : str
        What to know before use; which cuts its authors recommend (gpdust does not make them).
    columns_from : str
        Where the column names were looked up.
    """

    name: str
    columns: Columns
    units: Mapping[str, str]
    band: str
    quantity: str
    reference: str
    note: str = ""
    quality: str = ""
    columns_from: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", MappingProxyType(dict(self.columns)))
        object.__setattr__(self, "units", MappingProxyType(dict(self.units)))


_GALACTIC = {"l": "deg", "b": "deg", "distance": "pc", "extinction": "mag"}

_GSPPHOT = {
    "l": "l",
    "b": "b",
    "distance": "distance_gspphot",
    "distance_error": ("distance_gspphot_lower", "distance_gspphot_upper"),
}
_GSPPHOT_REFERENCE = "Andrae et al. 2023, A&A 674, A27"
_GSPPHOT_COLUMNS = "gaiadr3.gaia_source in the Gaia archive"
_GSPPHOT_QUALITY = "distances are biased for poor parallaxes: keep parallax_over_error > 10 (Andrae et al. 2023)"

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        preset.name: preset
        for preset in (
            Preset(
                name="fouesneau2022",
                columns={
                    "l": "l",
                    "b": "b",
                    "distance": "dist_p50",
                    "distance_error": ("dist_p16", "dist_p84"),
                    "extinction": "A0_p50",
                    "extinction_error": ("A0_p16", "A0_p84"),
                },
                units=_GALACTIC,
                band="547 nm",
                quantity="A0",
                reference="Fouesneau et al. 2022, A&A 662, A125",
                columns_from="the input table of Dharmawardena et al.'s 3D maps (l, b, dist_p50, A0_p16, A0_p50, "
                "A0_p84); dist_p16 and dist_p84 are used where they are there",
                note="The table at the GAVO data centre (gdr2ap.main) has no positions and gives a distance modulus: "
                "join it with gaia_source and turn dmod_p50 into a distance first.",
            ),
            Preset(
                name="zhang2023",
                columns={
                    "ra": "ra",
                    "dec": "dec",
                    "parallax": "stellar_params_est[4]",
                    "parallax_error": "stellar_params_err[4]",
                    "extinction": "stellar_params_est[3]",
                    "extinction_error": "stellar_params_err[3]",
                },
                units={"ra": "deg", "dec": "deg", "parallax": "mas", "extinction": "mag"},
                band="Gaia XP",
                quantity="E (ZGR23)",
                reference="Zhang, Green & Rix 2023, MNRAS 524, 1855",
                columns_from="the published files stellar_params_catalog_*.h5, whose vectors hold Teff (kK), [Fe/H], "
                "log g, E (mag), parallax (mas)",
                note="E is the amplitude of the authors' extinction curve, of the order of E(B-V), and no extinction "
                "in a passband. Distances are 1/parallax.",
                quality="the authors recommend quality_flags < 8 (give keep=['quality_flags'])",
            ),
            Preset(
                name="starhorse",
                columns={
                    "l": "glon",
                    "b": "glat",
                    "distance": "dist50",
                    "distance_error": ("dist16", "dist84"),
                    "extinction": "av50",
                    "extinction_error": ("av16", "av84"),
                },
                units=_GALACTIC | {"distance": "kpc"},
                band="542 nm",
                quantity="A_V",
                reference="Anders et al. 2022, A&A 658, A91",
                columns_from="gaiaedr3_contrib.starhorse at gaia.aip.de (distances in kpc), and CDS I/354",
                note="The table at gaia.aip.de has no positions: join it with gaia_source and give "
                "columns={'ra': 'ra', 'dec': 'dec'} or {'l': 'l', 'b': 'b'}.",
                quality="for clean samples: fidelity > 0.5 and sh_outflag == '0000'",
            ),
            Preset(
                name="gaia_gspphot",
                columns=_GSPPHOT
                | {
                    "extinction": "azero_gspphot",
                    "extinction_error": ("azero_gspphot_lower", "azero_gspphot_upper"),
                },
                units=_GALACTIC,
                band="541.4 nm",
                quantity="A0",
                reference=_GSPPHOT_REFERENCE,
                columns_from=_GSPPHOT_COLUMNS,
                note="The archive first gave the wavelength of A0 as 547.7 nm and later as 541.4 nm.",
                quality=_GSPPHOT_QUALITY,
            ),
            Preset(
                name="gaia_gspphot_g",
                columns=_GSPPHOT
                | {"extinction": "ag_gspphot", "extinction_error": ("ag_gspphot_lower", "ag_gspphot_upper")},
                units=_GALACTIC,
                band="Gaia G",
                quantity="A_G",
                reference=_GSPPHOT_REFERENCE,
                columns_from=_GSPPHOT_COLUMNS,
                note="A_G depends on the star's colour as well as on the dust; A0 (preset gaia_gspphot) does not.",
                quality=_GSPPHOT_QUALITY,
            ),
            Preset(
                name="hunt2023",
                columns={
                    "l": "GLON",
                    "b": "GLAT",
                    "distance": "dist50",
                    "distance_error": ("dist16", "dist84"),
                    "extinction": "AV50",
                    "extinction_error": ("AV16", "AV84"),
                },
                units=_GALACTIC,
                band="V",
                quantity="A_V",
                reference="Hunt & Reffert 2023, A&A 673, A114",
                columns_from="table clusters of CDS J/A+A/673/A114",
                note="Star clusters, not stars. The distance errors are statistical only.",
                quality="the authors' clean sample: CST > 5 and CMDCl50 > 0.5",
            ),
        )
    }
)
