"""L1's features: how each is taken from a segment, and how a map of it is told from a photo (§3.2).

A feature map that arrives at the server is checked to be of the declared kind, so that a photo
cannot travel under a feature's name by mistake or by a tampered client. The checks are filters,
not proofs: whoever controls the sender can always draw words with edges. Features from outside
the package: :mod:`spinml.privacy.plugins`.
"""

from __future__ import annotations

from spinml.errors import UnknownFeatureError
from spinml.privacy.extractor import Extractor
from spinml.privacy.features.box import Box
from spinml.privacy.features.canny import Canny
from spinml.privacy.features.depth import Depth
from spinml.privacy.features.pose import Pose
from spinml.privacy.features.soft_edges import SoftEdges
from spinml.privacy.plugins import FEATURES, load_plugin, plugin_names

_OWN: dict[str, Extractor] = {
    feature.name: feature for feature in (Box(), Canny(), Depth(), Pose(), SoftEdges())
}


def feature_names() -> list[str]:
    """The features that L1 can send, sorted: the package's own and those of plugins."""
    return sorted({*_OWN, *plugin_names(FEATURES)})


def get_feature(name: str) -> Extractor:
    """The extractor called ``name``; a plugin cannot take the place of the package's own.

    Raises:
        UnknownFeatureError: there is none of that name.
        PluginError: a plugin has it and cannot be loaded.
    """
    feature = _OWN.get(name) or load_plugin(FEATURES, name)
    if feature is None:
        raise UnknownFeatureError(
            f"no L1 feature {name[:40]!r}",
            remedy=f"choose one of: {', '.join(feature_names())}; "
            "or install the plugin that has it, here and on the server",
        )
    return feature
