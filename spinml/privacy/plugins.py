"""Features and schemes from outside the package, by Python entry points (§7).

A distribution that declares::

    [project.entry-points."spinml.features"]    # or "spinml.schemes"
    thermal = "my_package:Thermal"

adds one: a class without arguments (or an object) that keeps the interface
:class:`spinml.privacy.extractor.Extractor` and has the entry point's name. A *feature* makes
L1's map; a *scheme* makes L2's pixels into others of the same place, such as a mosaic, and a
request names it in ``schemes: {target: …}``. Install it on the device, where it extracts, and on
the server, where it checks: a server without it refuses such bundles.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import cast

import numpy as np

from spinml.errors import PluginError, PreferenceViolationError, SpinMLError, UnknownSchemeError
from spinml.privacy.extractor import Extractor, Image, SegmentInput

FEATURES = "spinml.features"
SCHEMES = "spinml.schemes"


def plugin_names(group: str) -> list[str]:
    """The plugins of ``group``, sorted; nothing is imported."""
    return sorted({point.name for point in entry_points(group=group)})


def get_scheme(name: str) -> Extractor:
    """The plugin scheme called ``name``.

    Raises:
        UnknownSchemeError: none is installed.
        PluginError: it cannot be loaded.
    """
    scheme = load_plugin(SCHEMES, name)
    if scheme is None:
        raise UnknownSchemeError(
            f"no scheme {name[:40]!r}",
            remedy="install the plugin that has it, here and on the server; installed: "
            + (", ".join(plugin_names(SCHEMES)) or "none"),
        )
    return scheme


def load_plugin(group: str, name: str) -> Extractor | None:
    """The plugin ``name`` of ``group``; None when it is not installed.

    Raises:
        PluginError: more than one has the name, it cannot be imported, or it does not keep the
            interface. The cause is chained.
    """
    found = list({point.value: point for point in entry_points(group=group, name=name)}.values())
    if not found:
        return None
    if len(found) > 1:
        raise PluginError(
            f"{len(found)} plugins are called {name!r} in {group}, one can be",
            remedy="uninstall all but one of them",
        )
    return _loaded(found[0])


def extract_image(extractor: Extractor, segment: SegmentInput, channels: tuple[int, ...]) -> Image:
    """``extractor.extract(segment)``, which must be uint8, as large as the segment.

    Args:
        channels: how many it may have; 1 stands for shape ``(H, W)``.

    Raises:
        FeatureMissingError: the segment has no such feature.
        PluginError: it raised something else, or its result has another type or shape.
    """
    try:
        image = extractor.extract(segment)
    except SpinMLError:
        raise
    except Exception as error:
        raise _failed(extractor, "extract", error, "; nothing was sent") from error
    height, width = segment.mask.shape
    wanted = [(height, width) if n == 1 else (height, width, n) for n in channels]
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.shape not in wanted:
        got = (
            f"{image.dtype} of shape {image.shape}"
            if isinstance(image, np.ndarray)
            else f"a {type(image).__name__}"
        )
        raise PluginError(
            f"{extractor.name}.extract gave {got}; wanted uint8 of shape "
            f"{' or '.join(map(str, wanted))}; nothing was sent",
            remedy="mend the plugin, or leave it out of the request",
        )
    return image.copy()  # the sanitizer erases in it; a plugin may keep its own


def check_image(extractor: Extractor, image: Image) -> None:
    """``extractor.check(image)``.

    Raises:
        PreferenceViolationError: the image is of another kind.
        PluginError: the check raised something else.
    """
    try:
        extractor.check(image)
    except PreferenceViolationError:
        raise
    except Exception as error:
        raise _failed(extractor, "check", error, "") from error


def _loaded(point: EntryPoint) -> Extractor:
    try:
        loaded = point.load()
        plugin = loaded() if isinstance(loaded, type) else loaded
    except Exception as error:
        raise PluginError(
            f"the plugin {point.name!r} of {point.group} cannot be loaded: {type(error).__name__}",
            remedy="install a version that fits, or uninstall it",
        ) from error
    lacks = [what for what in ("extract", "check") if not callable(getattr(plugin, what, None))]
    if lacks or getattr(plugin, "name", None) != point.name:
        raise PluginError(
            f"the plugin {point.name!r} of {point.group} does not keep the interface: "
            + (f"it has no {' nor '.join(lacks)}" if lacks else "its name is another"),
            remedy="see spinml.privacy.extractor.Extractor",
        )
    return cast(Extractor, plugin)


def _failed(extractor: Extractor, what: str, error: Exception, so: str) -> PluginError:
    # The error's own words may quote pixels or paths: its type alone is told, the rest is chained.
    return PluginError(
        f"{extractor.name}.{what} failed: {type(error).__name__}{so}",
        remedy="mend the plugin, or leave it out of the request",
    )
