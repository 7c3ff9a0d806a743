"""The simulated bus: vehicles, their drives, seven attacks, and the `demo` dataset made of them.

A vehicle is a fixed table of `messages`. In a capture each is released by its node's clock, filled
from the state of the drive, and sent when it wins arbitration on a 500 kbit/s bus, for which the
frames of `attacks.inject` compete as well.
"""

import re
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from cangraph.bus import fleet
from cangraph.bus.arbitration import arbitrate, frame_duration
from cangraph.bus.attacks import ATTACKS, inject
from cangraph.bus.lies import CHECKSUMS
from cangraph.frames import Frames, attack_code

_RATE = 100  # samples of the drive per s: the 10 ms task of a control unit
_NODES = 8  # control units on the bus, each with a clock of its own

_PERIODS = {  # vehicle: how many messages have which period in ms
    "aster": {10: 7, 20: 9, 50: 6, 100: 8, 200: 5, 500: 3, 1000: 3},
    "borage": {10: 5, 20: 6, 50: 5, 100: 6, 200: 4, 500: 2, 1000: 2},
    "clover": {10: 4, 20: 8, 50: 9, 100: 20, 200: 14, 500: 11, 1000: 10},
}
VEHICLES = tuple(_PERIODS)
_FLEET = 1000  # the number of the first vehicle that is drawn
_FRAME_TIME = 0.25e-3  # s, of a frame of 8 bytes at 500 kbit/s with its stuff bits
_TRUCKS = 0.1  # share of the drawn vehicles with 29 bit IDs
_TESTED = 0.25  # share of the drives of drawn vehicles in which a tester asks
_PARKED = 20.0  # s that a drawn vehicle stands before it drives, at most; half of them do not
_BUSY = (0.6, 0.75)  # largest shares of the bus that a drawn vehicle takes, and a wild one;
_IDLE = 0.02  # the least that a wild one does
WILD = "wild-", "twin-"  # vehicles with the habits of `bus.fleet`

_ANALOG = ("speed", "rpm", "pedal", "brake", "steering", "lateral", "temperature", "fuel")
_DISCRETE = ("gear", "braking", "lights", "wipers", "climate")


class Field(NamedTuple):
    """A part of a payload, from `byte` on; one byte, a signal two.

    table: `values` in turn, frame by frame: a constant, or a multiplexer page.
    counter: frames sent so far modulo `values[0]`, with the bits `values[1]` set.
    signal: `values[0]` + `values[1]` × channel (0..1) + `noise` LSB, big-endian.
    enum: one of `values`, by the state of the channel.
    word: any of `values[0]` values, a new one from time to time: every `noise` s.
    switch: one of `values`, the next at each event.
    ramp: frames sent so far while the channel is high, modulo 256.
    xor, sum, crc: checksum of all other bytes and `values[0]`; crc is CRC-8 SAE J1850.
    """

    kind: str
    byte: int
    values: tuple[int, ...]
    channel: str = ""
    noise: float = 0.0


class Message(NamedTuple):
    """What a vehicle sends under one arbitration ID."""

    arbitration_id: int
    dlc: int
    period: float  # s; 0: on events only
    events: float  # per s; at each it is sent again and again, to be heard:
    repeats: int  # so many times,
    pace: float  # s from one to the next
    jitter: float  # s, standard deviation
    offset: float  # s, in the schedule of the node
    node: int
    fields: tuple[Field, ...]
    rhythm: fleet.Rhythm = fleet.Rhythm()


@lru_cache
def messages(vehicle: str) -> tuple[Message, ...]:
    """The messages of a vehicle by rising arbitration ID: one of `VEHICLES`, or `fleet-<n>`, the
    n-th of endlessly many that are drawn, or `wild-<n>`, drawn with the habits of real buses, which
    `bus.fleet` has, or `twin-<n>`, a wild one whose signals are not copies of each other but
    related as those of real vehicles are. Raises `ValueError` for an unknown one.

    >>> len(messages("aster")), len(messages("fleet-0")) == len(messages("fleet-1"))
    (45, False)
    """
    rng = np.random.default_rng([2016, _number(vehicle)])  # never changes, unlike a drive
    wild, twin = vehicle.startswith(WILD), vehicle.startswith("twin-")
    analog = _ANALOG + fleet.RELATED if twin else _ANALOG
    periods = _PERIODS.get(vehicle) or (_wild_periods(rng) if wild else _drawn_periods(rng))
    never, twice = (0.0, 2, 0.02), (2, 0.02)
    timing = [(period, *never) for period, count in periods.items() for _ in range(count)]
    # a rare signal, a busy switch, and slow messages that are sent on change too
    timing += [(0, 0.05, *twice), (0, 0.5, *twice), (500, 0.25, *twice), (1000, 0.5, *twice)]
    known = len(timing)
    if vehicle not in VEHICLES:  # lamps, doors: periodic, and at once when a switch turns
        for _ in range(rng.integers(3)):  # busy ones: the first turn of a rare one is odd indeed
            again = int(rng.integers(1, 6)), rng.uniform(0.01, 0.05)
            timing.append((int(rng.choice([100, 200, 500])), rng.uniform(0.3, 1.5), *again))
    if wild:
        for _ in range(rng.integers(5)):
            again = int(rng.integers(1, 6)), rng.uniform(0.01, 0.05)
            rate = np.exp(rng.uniform(np.log(0.02), np.log(1.5)))
            timing.append((int(rng.choice([0, 100, 200, 500])), rate, *again))
    # urgent messages get low IDs, as in a car, with exceptions
    rank = np.log([period or 300 for period, *_ in timing]) + rng.normal(0, 0.6, len(timing))
    ids = np.sort(rng.choice(np.arange(0x040, 0x7C0), len(timing), replace=False))
    if wild and rng.random() < _TRUCKS:  # J1939: 8 in front, the source behind
        ids = np.sort(0x18F00000 + (rng.integers(0, 256, len(ids)) << 8) + np.arange(len(ids)))
    pages = 2  # multiplexed messages still to give away, to the first slow ones
    table: list[Message] = []
    for arbitration_id, k in zip(ids.tolist(), np.argsort(rank), strict=True):
        period, events, repeats, pace = timing[k]
        multiplexed = pages > 0 and period in (100, 200)
        pages -= multiplexed
        dlc = 8 if multiplexed or rng.random() < 0.8 else int(rng.integers(2, 8))
        jitter = min(period * rng.uniform(0.002, 0.02), 2.0)  # ms
        offset, node = int(rng.integers(max(period, 1))), int(rng.integers(_NODES))
        timed = period * 1e-3, events, repeats, pace, jitter * 1e-3, offset * 1e-3, node
        fields = _layout(dlc, 0 < period <= 50, multiplexed, rng, wild, analog)
        if k >= known:
            fields = _switched(fields, rng)
        beat = fleet.rhythm(rng) if wild and period else fleet.Rhythm()
        if twin:  # each signal is a channel of its own
            fields = tuple(
                f._replace(channel=f"{f.channel} {len(table)}.{f.byte}")
                if f.kind == "signal"
                else f
                for f in fields
            )
        if beat.burst > 1:  # as many frames in all
            timed = (period * 1e-3 * beat.burst, *timed[1:])
        table.append(Message(arbitration_id, dlc, *timed, fields, beat))
    return tuple(table)


def _number(vehicle: str) -> int:
    """The number of a vehicle, for the seeds of what is drawn for it."""
    if vehicle in VEHICLES:
        return VEHICLES.index(vehicle)
    drawn = re.fullmatch(r"(fleet|wild|twin)-(\d{1,9})", vehicle)
    if not drawn:
        known = f"{', '.join(VEHICLES)}, fleet-0, …, wild-0, …, twin-0, …"
        raise ValueError(f"vehicle: {vehicle!r} is unknown; expected one of {known}")
    return _FLEET + int(drawn[2]) + 10**9 * ("fleet", "wild", "twin").index(drawn[1])


def _drawn_periods(rng) -> dict[int, int]:
    """How many messages have which period in ms, for a bus that is not overloaded."""
    choices = list(_PERIODS["aster"])
    while True:
        counts = rng.multinomial(rng.integers(25, 95), rng.dirichlet(np.full(len(choices), 2.0)))
        if _load(periods := dict(zip(choices, counts.tolist(), strict=True))) <= _BUSY[0]:
            return periods


def _wild_periods(rng) -> dict[int, int]:
    """The same of a wild one, from a handful of messages to a bus that is nearly full."""
    while True:
        ids = int(np.exp(rng.uniform(*np.log(fleet.IDS))))
        counts = rng.multinomial(ids, rng.dirichlet(np.full(len(fleet.PERIODS), 0.7)))
        periods = dict(zip(fleet.PERIODS, counts.tolist(), strict=True))
        if _IDLE <= _load(periods) <= _BUSY[1]:
            return periods


def _load(periods: dict[int, int]) -> float:
    """The share of the bus that messages take."""
    return sum(n / period for period, n in periods.items()) * 1e3 * _FRAME_TIME


def _layout(dlc, fast, multiplexed, rng, wild=False, analog=_ANALOG):
    fields, byte, end, checksum = [], 0, dlc, []
    if fast and dlc >= 4 and rng.random() < 0.7:  # control loops guard their messages
        end = dlc - 2
        modulus, high = (256, 0) if rng.random() < 0.3 else (16, int(rng.integers(16)) << 4)
        fields.append(Field("counter", end, (modulus, high)))
        kinds = ["xor", "sum", "crc"] if wild else ["xor", "sum"]
        checksum = [Field(str(rng.choice(kinds)), dlc - 1, (int(rng.integers(256)),))]
    if multiplexed:
        pages, byte = int(rng.integers(3, 7)), 5
        columns = [range(pages), *rng.integers(0, 256, (4, pages)).tolist()]
        fields += [Field("table", k, tuple(column)) for k, column in enumerate(columns)]
    while byte < end:
        if end - byte >= 2 and rng.random() < (0.7 if fast else 0.35):
            values = int(rng.integers(0, 8000)), int(rng.integers(2000, 50000))
            noise = float(rng.choice([0.0, 0.4, 1.0, 4.0]))
            field = Field("signal", byte, values, str(rng.choice(analog)), noise)
        elif wild and rng.random() < 0.03:
            pace = float(np.exp(rng.uniform(*np.log((0.2, 40)))))
            field = Field("word", byte, (int(2 ** rng.integers(1, 9)),), noise=pace)
        elif wild and rng.random() < 0.004:
            field = Field("ramp", byte, (), str(rng.choice(_DISCRETE)))
        elif rng.random() < 0.4:
            shift = int(rng.integers(6))
            states = tuple(k << shift for k in range(int(rng.integers(2, 5))))
            field = Field("enum", byte, states, str(rng.choice(_DISCRETE)))
        else:
            field = Field("table", byte, (int(rng.choice([0, 0, 255, rng.integers(256)])),))
        fields.append(field)
        byte += 2 if field.kind == "signal" else 1
    return tuple(fields + checksum)  # the checksum comes last, because it covers the others


def _switched(fields, rng):
    """The fields, of which one that never changes, if any, has become a switch."""
    still = [k for k, f in enumerate(fields) if f.kind == "table" and len(f.values) == 1]
    if not still:
        return fields
    k = int(rng.choice(still))
    off = fields[k].values[0]
    turned = fields[k]._replace(kind="switch", values=(off, off ^ 1 << int(rng.integers(8))))
    return (*fields[:k], turned, *fields[k + 1 :])


def _drive(seconds, parked, rng):
    """One trip after `parked` s: every channel scaled to 0..1, `_RATE` samples per s."""
    n = int((seconds + 1) * _RATE)
    driven = np.arange(n) >= parked * _RATE

    def steps(n, shortest, longest, values):
        holds = rng.uniform(shortest, longest, int(n / (shortest * _RATE)) + 2) * _RATE
        return np.repeat(values(len(holds)), holds.astype(np.int64))[:n]

    def smooth(width, shortest, longest, values):
        kernel = np.hanning(width * _RATE + 2)[1:-1]
        wanted = steps(n + len(kernel) - 1, shortest, longest, values)
        return np.convolve(wanted, kernel / kernel.sum(), "valid")

    # km/h, with a red light now and then
    speed = smooth(8, 5, 15, lambda k: np.where(rng.random(k) < 0.3, 0, rng.uniform(15, 100, k)))
    if parked:  # it accelerates from standstill
        speed *= np.clip((np.arange(n) / _RATE - parked) / 6, 0, 1)
    acceleration = np.gradient(speed) * _RATE  # km/h per s
    gear = np.digitize(speed, [1, 18, 35, 55, 75])
    pedal = np.clip(speed / 400 + acceleration / 20, 0, 1)
    brake = np.clip(-acceleration / 20, 0, 1)
    rpm = np.maximum(800, speed * np.array([0, 150, 85, 58, 43, 34])[gear]) + 400 * pedal
    steering = driven * smooth(2, 1, 6, lambda k: rng.normal(0, 0.12, k))
    lateral = 0.5 + steering * (speed / 100) ** 2
    warming = (90 - rng.uniform(10, 85)) * np.exp(-np.arange(n) / _RATE / 300)  # to 90 °C
    fuel = rng.uniform(0.1, 1) - 1e-6 * np.cumsum(pedal)
    analog = speed / 130, rpm / 4500, pedal, brake, 0.5 + steering, lateral, (90 - warming) / 130
    switches = (steps(n, 8, 40, rng.random) for _ in _DISCRETE[2:])
    channels = *analog, fuel, gear / 6, (brake > 0.02) * 0.9, *switches
    return dict(zip((*_ANALOG, *_DISCRETE, "driven"), (*channels, driven), strict=True))


def _times(message, seconds, phase, skew, rng):
    """When a message is released, and its events, s, ascending; its clock is off by `skew`."""
    times, period, events = np.zeros(0), message.period, np.zeros(0)
    if message.rhythm.spread:
        times = fleet.on_change(period, seconds, message.rhythm.spread, rng)
    elif period:
        times = np.arange((phase + message.offset) % period, seconds, period * (1 + skew))
        # less than half a period, so that a message never overtakes itself
        times += rng.normal(0, message.jitter, len(times)).clip(-period / 3, period / 3)
    if message.rhythm.factor > 1:
        times = fleet.slower(times, message.rhythm.factor, seconds, rng)
    if message.rhythm.burst > 1:
        times = fleet.bursts(times, message.rhythm.burst, period, rng)
    if message.events:
        events = np.sort(rng.uniform(0, seconds, rng.poisson(message.events * seconds)))
        again = message.pace * np.arange(message.repeats)
        times = np.concatenate([times, (events + again[:, None]).ravel()])
    return np.sort(times[(times >= 0) & (times < seconds)]), events


def _payload(message, times, events, drive, rng):
    """What a message carries at each of its times, u1 (n, 8)."""
    data = np.zeros((len(times), 8), np.uint8)
    count = rng.integers(256) + np.arange(len(times))
    sample = (times * _RATE).astype(np.int64)
    for kind, byte, values, channel, noise in message.fields:
        if kind in ("table", "switch"):
            turn = count if kind == "table" else np.searchsorted(events, times, side="right")
            data[:, byte] = np.array(values)[turn % len(values)]
        elif kind == "counter":
            data[:, byte] = count % values[0] | values[1]
        elif kind == "word":
            turn = np.floor(times / noise + rng.random()).astype(int)
            turn = np.cumsum(np.diff(turn, prepend=turn[:1]) * (rng.random(len(turn)) < 0.9) > 0)
            data[:, byte] = rng.integers(0, values[0], len(turn) + 1)[turn]
        elif kind == "ramp":
            data[:, byte] = np.cumsum(drive[channel][sample] > 0.4)
        elif kind == "enum":
            data[:, byte] = np.array(values)[(drive[channel][sample] * len(values)).astype(int)]
        elif kind == "signal":
            raw = values[0] + values[1] * drive[channel][sample]
            raw += noise * drive["driven"][sample] * rng.standard_normal(len(times))
            raw = np.rint(raw).clip(0, 0xFFFF)
            data[:, byte : byte + 2] = raw.astype(">u2")[:, None].view(np.uint8)
        else:  # the byte of the checksum is still 0, which changes no sum
            data[:, byte] = CHECKSUMS[kind](data[:, np.arange(8) != byte], values[0])
    return data


def _spans(seconds, bursts, rng):
    """Start and end of each burst of an attack, s."""
    clean = 11 * min(1.0, seconds / 15)  # s without attack: 10 to calibrate on, and a margin
    part = (seconds - clean) / bursts  # a burst lies well inside a part of its own
    length = np.minimum(rng.uniform(2, 5, bursts), 0.7 * part)
    begin = clean + part * np.arange(bursts) + rng.uniform(0.1, 0.9, bursts) * (part - length)
    return np.column_stack([begin, begin + length]).tolist()


def _released(vehicle, seconds, drive, rng):
    """What the nodes of a vehicle release in a drive: times (s), arbitration ID, DLC, payload."""
    table, wild = messages(vehicle), vehicle.startswith(WILD)
    if vehicle.startswith("twin-"):
        names = [f.channel for m in table for f in m.fields if f.kind == "signal"]
        drive = drive | fleet.channels(drive, names, _number(vehicle), _RATE, rng)
    phase, skew = rng.uniform(0, 1, _NODES), rng.normal(0, 50e-6, _NODES)
    awake = fleet.waking(seconds, _NODES, rng) if wild else [[(0.0, seconds)]] * _NODES
    grids = np.zeros(_NODES)  # s, of the nodes that pass on what others send
    if wild:
        grids = np.where(rng.random(_NODES) < 0.1, rng.uniform(5e-3, 5e-2, _NODES), 0)
    parts = []
    for message in table:
        node = message.node
        times, events = _times(message, seconds, phase[node], skew[node], rng)
        if wild:
            times = fleet.batched(times, grids[node]) if grids[node] else times
            times = times[fleet.inside(times, awake[node])]
        data = _payload(message, times, events, drive, rng)
        for woke, _ in awake[node]:
            blank = (times >= woke) & (times < woke + message.rhythm.blank)
            data[blank, : message.dlc] = message.rhythm.blanks
        ids, dlc = np.full(len(times), message.arbitration_id), np.full(len(times), message.dlc)
        parts.append((times, ids, dlc, data))
    if wild and rng.random() < _TESTED:
        parts.append(fleet.diagnosis(seconds, table[0].arbitration_id > 0x7FF, rng))
    return (np.concatenate(column) for column in zip(*parts, strict=True))


def simulate(
    vehicle: str,
    seconds: float,
    *,
    attack: str = "",
    seed: int = 0,
    bursts: int = 3,
    start: float = 0.0,
    severity: float = 1.0,
    payload: str = "",
) -> Frames:
    """One capture of one drive, attack free or under one of `attacks.ATTACKS`.

    The attack comes in `bursts` of 2-5 s, none in the first 11 s (in a capture under 15 s, 73 %);
    `severity` and `payload` are those of `attacks.inject`. A `seed` is a drive: with and without
    attack, the vehicle sends the same frames. Timestamps are the ends of frames, s after `start`.

    Raises `ValueError` for what makes no capture.

    >>> simulate("borage", 16.0, attack="flooding", bursts=1).name
    'flooding-borage'
    """
    if attack and attack not in ATTACKS:
        raise ValueError(f"attack: {attack!r} is unknown; expected one of {', '.join(ATTACKS)}")
    if not (0 < seconds < np.inf and bursts > 0 and seed >= 0):
        what = f"simulate: {seconds} seconds, {bursts} bursts, seed {seed}"
        raise ValueError(f"{what}; expected numbers above 0, a seed from 0 on; try 40.0 seconds")
    number = _number(vehicle)
    rng = np.random.default_rng([seed, number])
    # a car of the fleet may be parked at first; those of the demo drive from the start
    parked = 0.0 if vehicle in VEHICLES else max(rng.uniform(-_PARKED, _PARKED), 0.0)
    times, ids, dlc, data = _released(vehicle, seconds, _drive(seconds, parked, rng), rng)
    release = np.rint(times * 1e6).astype(np.int64) * 1000  # ns
    queue = np.argsort(release, kind="stable")
    order, end = arbitrate(release[queue], ids[queue], frame_duration(dlc[queue]))
    recorded = end <= seconds * 1e9
    sent, timestamp = queue[order[recorded]], np.round(start + end[recorded] * 1e-9, 6)
    name = f"{attack or 'attack-free'}-{vehicle}"
    frames = Frames(timestamp, ids[sent], dlc[sent], data[sent], name=name, vehicle=vehicle)
    if not (attack and len(frames)):
        return frames
    # from a stream of its own, so that the drive does not change with the attack
    rng = np.random.default_rng([seed, number, attack_code(attack)])
    spans, dice = _spans(seconds, bursts, rng), int(rng.integers(2**32))
    frames = inject(frames, attack, spans=spans, severity=severity, seed=dice, payload=payload)
    return frames[frames.timestamp <= start + seconds]


CAPTURES = {  # of the demo dataset: attack and vehicle of each, by scenario
    "train_01_attack_free": "attack-free-aster attack-free-borage",
    "train_02_with_attacks": "flooding-aster fuzzing-borage spoofing-aster",
    "test_01_known_vehicle_known_attack": "flooding-borage fuzzing-aster spoofing-borage",
    "test_02_unknown_vehicle_known_attack": "flooding-clover fuzzing-clover spoofing-clover",
    "test_03_known_vehicle_unknown_attack": "malfunction-aster malfunction-borage replay-aster",
    "test_04_unknown_vehicle_unknown_attack": "malfunction-clover replay-clover",
    "test_05_suppress": "suppress-aster suppress-clover",
    "test_06_masquerade": "masquerade-aster masquerade-clover",
}


def demo_captures(seed: int = 0, seconds: float = 40.0) -> list[Frames]:
    """The `demo` dataset: 20 captures of `seconds` each, all of different drives.

    No training capture is of clover or under an attack of `test_03` to `test_06`; `synthesis` draws
    such attacks and cars all the same. Raises `ValueError` as `simulate` does.

    >>> [frames.name for frames in demo_captures(seconds=1.0)][:3]
    ['attack-free-aster', 'attack-free-borage', 'flooding-aster']
    """
    captures = []
    plan = [(scenario, name) for scenario, names in CAPTURES.items() for name in names.split()]
    for drive, (scenario, name) in enumerate(plan, 100 * seed):  # no drive twice, in any dataset
        attack, vehicle = name.removeprefix("attack-free").rsplit("-", 1)
        attack = {"suppress": "suppression"}.get(attack, attack)
        capture = simulate(vehicle, seconds, attack=attack, seed=drive)
        captures.append(capture.label(name=name, scenario=scenario))
    return captures
