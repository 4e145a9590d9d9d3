"""The Debian packages (bookworm, main) of the training corpus, and the kind of sound of their files.

Core: 54 packages, 2.9 GB, about 35 hours. Big: 19 more, 6.1 GB, about 49 hours. The held-out packages are never
trained on. A file's kind is that of the first pattern that matches its path, of the package's own and then of `GENERAL`, else the
package's kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

KINDS = ("speech", "music", "effects")

GENERAL = (
    ("*/[Mm]usic*/*", "music"),
    ("*/bgm/*", "music"),
    ("*music*.???", "music"),
    ("*/[Vv]oices*/*", "speech"),
    ("*/speech/*", "speech"),
)


@dataclass(frozen=True, slots=True)
class Package:
    """One package of the corpus.

    Args:
        name: Its name in Debian main.
        kind: Of its files unless a pattern matches.
        patterns: Shell patterns of paths with their kinds, first match wins.
        group: "core", "big" or "eval" (held out).
    """

    name: str
    kind: str
    patterns: tuple[tuple[str, str], ...] = ()
    group: str = "core"

    def kind_of(self, path: str) -> str:
        """Return the kind of the file at this path inside the package."""
        matches = (kind for pattern, kind in (*self.patterns, *GENERAL) if fnmatchcase(path, pattern))
        return next(matches, self.kind)


def _each(kind: str, names: str, group: str = "core") -> tuple[Package, ...]:
    return tuple(Package(name, kind, group=group) for name in names.split())


EVALUATION = (
    Package("bucklespring-data", "effects", group="eval"),
    Package("trigger-rally-data", "effects", (("*/codriver/*", "speech"),), "eval"),
    Package("lomiri-sounds", "music", (("*/notifications/*", "effects"), ("*/camera/*", "effects")), "eval"),
    Package("searchandrescue-data", "effects", group="eval"),
)

CORE = (
    Package("tuxpaint-stamps-default", "effects", (("*_desc*", "speech"),)),
    *_each("speech", "klettres-data ktuberling-data fillets-ng-data-cs fillets-ng-data-nl festvox-ru gcin-voice"),
    *_each("speech", "asterisk-core-sounds-en-g722 asterisk-core-sounds-es-g722 asterisk-core-sounds-fr-g722"),
    *_each("speech", "asterisk-core-sounds-it-g722 asterisk-core-sounds-ru-g722"),
    *_each(
        "effects", "hedgewars-data megaglest-data ufoai-sound hydrogen-drumkits sonic-pi-samples colobot-common-sounds"
    ),
    *_each("music", "wesnoth-1.16-music singularity-music nexuiz-music ufoai-music"),
    Package("marsshooter-data", "effects", (("*/audio/*.ogg", "music"), ("*/announcer/*", "speech"))),
    *_each("effects", "supertux-data fillets-ng-data extremetuxracer-data hyperrogue-music starfighter-data"),
    Package("pushover-data", "music"),
    *_each("effects", "trackballs-data davegnukem-data enigma-data neverball-common plee-the-bear-data pathological"),
    *_each("music", "fretsonfire-songs-sectoid fretsonfire-songs-muldjord"),
    Package("zaz-data", "effects", (("*/mus?.ogg", "music"),)),
    Package(
        "wordwarvi-sound",
        "effects",
        (("*/lucky*", "music"), ("*/dtox*", "music"), ("*/destiny*", "music")),
    ),
    Package("freedink-data", "effects", (("*.ogg", "music"),)),
    Package("frozen-bubble-data", "effects", (("*zik*", "music"),)),
    *_each("effects", "hex-a-hop-data pinball-table-gnu-data"),
    Package("xmoto-data", "music"),
    Package("krank", "effects", (("*.ogg", "music"),)),
    Package("openarena-data", "effects", (("*/announcer/*", "speech"),)),
    Package("gcompris-qt-data", "effects", (("*explore_world_music*", "music"),)),
    Package("boswars-data", "effects", (("*/campaigns/tutorial/*", "speech"),)),
    *_each("effects", "lincity-ng-data lmms-common minetest-data caveexpress-data endless-sky-data oxygen-sounds"),
)

BIG = (
    *_each("effects", "nexuiz-data widelands-data naev-data supertuxkart-data", "big"),
    *_each("effects", "freedroidrpg-data flare-game warmux-data freecol warzone2100-data", "big"),
    *_each("effects", "wesnoth-1.16-data hydrogen-drumkits-effects btanks-data ardentryst", "big"),
    *_each("effects", "openarena-088-data csoundqt-examples", "big"),
    *_each("music", "unknown-horizons planetblupi-music-ogg wizznic-data freeorion-data", "big"),
)


def select(big: bool) -> tuple[Package, ...]:
    """Return the packages of a corpus, the held-out ones first so that duplicates of their files are never trained on."""
    return EVALUATION + CORE + (BIG if big else ())
