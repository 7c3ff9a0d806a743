"""The features: what is said of a frame, a node and an edge, each with a unit and what it sees."""

from typing import NamedTuple

FAMILIES = {
    "timing": "gaps between the frames of an ID",
    "amount": "frames of an ID in a window",
    "identity": "IDs that are not known",
    "flips": "which payload bits change",
    "values": "which values the payload takes",
    "rules": "counters and checksums",
    "silence": "IDs that are missing",
    "bus": "how fast the bus is, and how many IDs come and go",
    "succession": "which ID follows which",
}


class Feature(NamedTuple):
    """A feature's `name`, its `unit`, what it `sees`, and its `family`, a key of `FAMILIES`."""

    name: str
    unit: str
    sees: str
    family: str


FRAME_FEATURES = (
    Feature(
        "gap_ratio",
        "octaves",
        "log2 of the gap since its last frame on time over the ID's period; of what is early, "
        "beyond what it used to go on saying when it was",
        "timing",
    ),
    Feature("gap_surprise", "octaves", "|gap_ratio| over what is usual for the ID", "timing"),
    Feature("jitter", "octaves", "the ID's usual |gap_ratio|: small if periodic", "timing"),
    Feature(
        "intruder",
        "octaves",
        "how early it comes after a frame that, as it keeps the ID's clock, was out of turn",
        "timing",
    ),
    Feature(
        "distrust",
        "0..1",
        "1 for an ID that turns up late, 0 for one that keeps its period",
        "identity",
    ),
    Feature(
        "flip_excess",
        "sigma",
        "payload bits flipped, more or fewer than the ID's flip rates",
        "flips",
    ),
    Feature(
        "flip_surprise",
        "octaves",
        "flips in bits that rest, or rest in bits that flip, over what is usual for the ID",
        "flips",
    ),
    Feature(
        "flip_trend", "sigma", "flip_excess averaged over the ID's last frames, about 16", "flips"
    ),
    Feature(
        "stuck",
        "octaves",
        "frames that a payload byte has not moved, over its longest rest so far",
        "flips",
    ),
    Feature(
        "novel_bytes",
        "octaves",
        "payload bytes with a value new to the ID, over what is usual for it",
        "values",
    ),
    Feature(
        "leap",
        "octaves",
        "step of a payload byte over its longest so far, over what is usual for the ID",
        "values",
    ),
    Feature("dlc_change", "0 or 1", "payload length other than the ID's last one", "values"),
    Feature(
        "broken_rule",
        "octaves",
        "how reliable a counter or checksum was that breaks, over what is usual for the ID",
        "rules",
    ),
    Feature("rate", "1/ms", "frames the ID is expected to send, 0 while not trusted", "amount"),
)

# how a node sums up its frames: (frame feature, aggregate)
AGGREGATES = (
    ("gap_ratio", "mean"),
    ("gap_ratio", "min"),
    ("gap_ratio", "max"),
    ("gap_surprise", "mean"),
    ("gap_surprise", "max"),
    ("jitter", "mean"),
    ("intruder", "max"),
    ("distrust", "max"),
    ("flip_excess", "mean"),
    ("flip_excess", "min"),
    ("flip_excess", "max"),
    ("flip_surprise", "mean"),
    ("flip_surprise", "max"),
    ("flip_trend", "min"),
    ("flip_trend", "max"),
    ("stuck", "max"),
    ("novel_bytes", "mean"),
    ("novel_bytes", "max"),
    ("leap", "max"),
    ("dlc_change", "mean"),
    ("broken_rule", "mean"),
    ("broken_rule", "max"),
)
_BY_NAME = {feature.name: feature for feature in FRAME_FEATURES}
_WORDS = {"mean": "mean", "min": "smallest", "max": "largest"}

NODE_FEATURES = (
    Feature(
        "count_ratio",
        "octaves",
        "log2 of the frames seen over those its rate predicts; "
        "an ID without trust is not expected at all",
        "amount",
    ),
    *(
        _BY_NAME[name]._replace(
            name=f"{name}_{how}", sees=f"{_WORDS[how]} over the window: {_BY_NAME[name].sees}"
        )
        for name, how in AGGREGATES
    ),
    Feature(
        "silence",
        "octaves",
        "log2 of the time since its last frame over the longest its period and jitter allow; "
        "above 0 an ID is a node even of a window without its frames",
        "silence",
    ),
    Feature("share", "0..1", "share of the window's frames that are the ID's", "amount"),
    Feature(
        "rank", "0..1", "share of the IDs heard so far that are lower and win the bus", "identity"
    ),
    Feature("age", "octaves", "log2 of 1 + the s since the ID was first heard", "identity"),
    Feature(
        "company",
        "octaves",
        "log2 of 1 + the IDs first heard within 2 s of it, 2 at most, and 2 after a minute",
        "identity",
    ),
    Feature("foreign", "0 or 1", "1 for an ID that the vehicle's baseline lacks", "identity"),
    Feature("bus_rate", "octaves of 1/ms", "log2 of the frames of the bus in a ms", "bus"),
    Feature("bus_pace", "octaves", "log2 of the usual time of so many frames over theirs", "bus"),
    Feature("arrivals", "octaves", "log2 of 1 + the IDs first heard in the last 2 s", "bus"),
    Feature("strays", "octaves", "log2 of 1 + the IDs of the last 10 s heard once or twice", "bus"),
    Feature("missed", "0..1", "share of the IDs heard so far that are missing", "bus"),
)

EDGE_FEATURES = (
    Feature("log_count", "octaves", "log2 of 1 + how often the succession occurred", "succession"),
    Feature(
        "share", "0..1", "share of the source's frames that this succession followed", "succession"
    ),
    Feature(
        "log_gap",
        "octaves of 1 ms",
        "log2 of 1 + the mean whole milliseconds between the two",
        "succession",
    ),
)
