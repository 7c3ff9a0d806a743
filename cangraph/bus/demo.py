"""The `demo` dataset: which captures of which simulated vehicles, in which role."""

from cangraph.bus.simulator import simulate
from cangraph.frames import Frames

__all__ = ["CAPTURES", "demo_captures"]

CAPTURES = {  # captures of the demo by attack and vehicle
    "train_01_attack_free": ("attack-free-aster", "attack-free-borage"),
    "train_02_with_attacks": ("flooding-aster", "fuzzing-borage", "spoofing-aster"),
    "test_01_known_vehicle_known_attack": ("flooding-borage", "fuzzing-aster", "spoofing-borage"),
    "test_02_unknown_vehicle_known_attack": (
        "flooding-clover",
        "fuzzing-clover",
        "spoofing-clover",
    ),
    "test_03_known_vehicle_unknown_attack": (
        "malfunction-aster",
        "malfunction-borage",
        "replay-aster",
    ),
    "test_04_unknown_vehicle_unknown_attack": ("malfunction-clover", "replay-clover"),
    "test_05_suppress": ("suppress-aster", "suppress-clover"),
    "test_06_masquerade": ("masquerade-aster", "masquerade-clover"),
}


def demo_captures(seed: int = 0, seconds: float = 40.0) -> list[Frames]:
    """The `demo` dataset: 20 captures of `seconds` each, all of different drives.

    No training capture is of clover or under an attack of `test_03` to `test_06`; `synthesis`
    draws such attacks all the same, by the same `attacks.inject`, and cars like clover. Raises
    `ValueError` as `simulate` does.

    >>> [frames.name for frames in demo_captures(seconds=1.0)][:3]
    ['attack-free-aster', 'attack-free-borage', 'flooding-aster']
    """
    captures = []
    plan = [(scenario, name) for scenario, names in CAPTURES.items() for name in names]
    for drive, (scenario, name) in enumerate(plan, 100 * seed):  # no drive twice, in any dataset
        attack, vehicle = name.removeprefix("attack-free").rsplit("-", 1)
        attack = {"suppress": "suppression"}.get(attack, attack)
        capture = simulate(vehicle, seconds, attack=attack, seed=drive)
        captures.append(capture.label(name=name, scenario=scenario))
    return captures
