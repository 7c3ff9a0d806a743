"""The kernel of the running profiles: judges each frame by its ID's past, then learns from it.

`profile.profile` has the equations. What an ID is known by has parts, each with a section here:
its constants, what it remembers of an ID (a record), `judge_…` and `learn_…`:

| part | what it judges |
|---|---|
| pause | since when the bus is heard without a pause |
| clock | when a frame comes: its gap, in periods of its ID |
| trust | whether an ID was there from the beginning, or has been there for long |
| flips | which bits of the payload change, by the flip rate of each bit |
| moves | how long a byte rests and how far it steps, and which values it takes |
| counters | steps of two bits that are the same at each frame |
| checksums | sums of the payload that stay the same while it changes |
| usual | how far a surprise is beyond what is usual for the ID |

All parts stand in this one file because numba's cache of a compiled function knows no other file:
split, a change of one part would leave the others' callers as they were compiled before.
"""

from collections import namedtuple
from enum import IntEnum
from typing import NamedTuple

import numba
import numpy as np

from cangraph.features.schema import FRAME_FEATURES
from cangraph.frames import CRC_8

FRAME = np.dtype([(feature.name, np.float32) for feature in FRAME_FEATURES])  # of one frame

# parts are compiled into `judge_and_learn`, which is cached
part = numba.njit(nogil=True, error_model="numpy")
per_byte = numba.njit(nogil=True, error_model="numpy", inline="always")  # eight calls a frame


class Columns(NamedTuple):
    """Frames as the kernel reads them: `timestamp` f8 (n,) in s, `bytes_used` u1 (n,), `data`
    u1 (n, width), the `slot` of each frame's ID, i8 (n,), `since` when (s) the bus was heard
    without a pause, f8 (n,); slots from `known` on are foreign to the baseline, if that is over 0.
    """

    timestamp: np.ndarray
    bytes_used: np.ndarray
    data: np.ndarray
    slot: np.ndarray
    since: np.ndarray
    known: int


WIDTH = -1  # bytes of the longest payload, in the shape of a field


def _constants(**values):
    """Numbers by name, which numba takes as they are when it compiles."""
    return namedtuple("Constants", values)(**values)


# Scale: what several parts share

SCALE = _constants(
    tick=1e-3,  # s; gaps are whole ticks: finer ones tell the recorder, not the attack
    rounding=5e-4,  # ticks; an epoch time in float64 is exact to .24 µs only
    memory=20.0,  # s; time constant of the period, the flip rates and what is usual
    young=8,  # gaps; an ID's first ones are averaged plainly, and none of them is refused
    clip=6.0,  # octaves; no feature needs to tell 64 times from more
)


# Pause: nobody keeps time while the recorder does not listen, so all clocks start anew behind it

PAUSE = _constants(
    least=0.2,  # s; a silence of the whole bus is a pause if it is longer than this
    gaps=32.0,  # and than so many usual gaps between two frames
    memory=20.0,  # s; time constant of the usual rate of the bus
)
HEARD = np.dtype(
    [
        ("frames", np.int64),
        ("last_time", np.float64),  # s
        ("time", np.float64),  # s that the bus was heard, without pauses
        ("rate", np.float64),  # 1/s, frames of the bus
        ("since", np.float64),  # s; the first frame behind the last pause
        ("known", np.int64),  # IDs of the vehicle's baseline; 0 without one
    ]
)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def hear(timestamp, heard, since, rate):
    """Write since when (s) the bus is heard without a pause, and its usual `rate` (1/s), at each
    frame; `heard`, a record `HEARD`, goes on from one piece to the next."""
    for i in range(len(timestamp)):
        now, known = timestamp[i], heard.frames > SCALE.young
        gap = now - heard.last_time
        pause = known and gap > PAUSE.least and gap * heard.rate > PAUSE.gaps
        if heard.frames == 0 or gap < 0 or pause:
            heard.since = now
        else:
            heard.time += gap
            memory = min(max(heard.time, SCALE.tick), PAUSE.memory)
            heard.rate += (1.0 - heard.rate * gap) / memory
        heard.frames, heard.last_time = heard.frames + 1, now
        since[i], rate[i] = heard.since, heard.rate


# Clock: when a frame comes

CLOCK = _constants(
    pull=0.5,  # octaves; one gap pulls the period by no more, so that a flood cannot
    slack=0.25,  # octaves; a frame earlier than slack + per_jitter · jitter is refused,
    per_jitter=2.0,  # octaves for each octave of jitter,
    most=1.0,  # octaves; but one that is earlier than this always is
    wait=6.0,  # octaves · ticks; slack is at most wait/period: a frame waits for the bus by ms
    steady=0.1,  # octaves; a frame nearer to its time is no reason to excuse the next one
    settle=5.0,  # s; while an ID is heard for less, its shortest gap goes an eighth of the way to a
    down=8.0,  # shorter one and a 32nd to a longer one, so that it takes bursts to make a habit,
    up=32.0,  # not a few forged frames;
    drift=0.02,  # octaves a s; then it moves by no more
)
CLOCK_RECORD = [
    ("last_time", np.float64),  # s, of the last frame
    ("base_time", np.float64),  # s, of the last frame on time
    ("base_ratio", np.float64),  # octaves that the last frame on time came late
    ("clock_time", np.float64),  # s, of the frame on time before it
    ("log_period", np.float64),  # log2 of ticks
    ("jitter", np.float64),  # octaves
    ("shortest", np.float64),  # log2 of ticks; the usual gap within a burst
    ("heard", np.float64),  # s that the ID was heard, without pauses
    ("rate", np.float64),  # 1/ms, frames
]


class Timing(NamedTuple):
    """What the clock says of a frame: `since` the last frame and `gap` since the last on time (s),
    `tick` (log2 of the gap in ticks), `ratio` (octaves over the period), `intruder` (octaves that
    its predecessor is out of turn), `early` (the ratio from which on it is on time), whether it
    `learns`, whether it `replaces` its predecessor, the `period` (ticks), and whether it is the
    first one behind a pause (`resumed`); `habit` is how early, in octaves, the ID is in bursts."""

    since: float
    gap: float
    tick: float
    ratio: float
    intruder: float
    early: float
    learns: bool
    replaces: bool
    period: float
    resumed: bool
    habit: float


@part
def ticks(seconds):
    return np.floor(max(seconds, 0.0) / SCALE.tick + SCALE.rounding)


@part
def judge_clock(clock, n, now, resumed):
    """The `Timing` of a frame at `now` after `n` others of its ID, the first one behind a pause if
    `resumed`: that one is on time."""
    since, gap = ticks(now - clock.last_time), ticks(now - clock.base_time)
    tick, period = np.log2(gap + 1.0), 2.0**clock.log_period
    # learning counts whole ticks too: a rate of learning that knows finer ones tells them
    since, gap = since * SCALE.tick, gap * SCALE.tick
    ratio, intruder, replaces, late = 0.0, 0.0, False, False
    if n >= 2 and not resumed:  # no period before
        ratio = min(max(tick - clock.log_period, -SCALE.clip), SCALE.clip)
    slack = min(CLOCK.slack, CLOCK.wait / period)
    early = -min(slack + CLOCK.per_jitter * clock.jitter, CLOCK.most)
    # who sends bursts, or at two paces, is not early within them
    habit = min(clock.shortest - clock.log_period, 0.0)
    early = min(early, habit - slack)
    if ratio <= early and n > SCALE.young:
        steady, over = min(CLOCK.steady, slack), ticks(now - clock.clock_time)
        away = np.log2(over + 1.0) - clock.log_period
        # behind a frame that was late, the next one on the clock is early
        late = clock.base_ratio > CLOCK.steady and away - 1.0 > -steady
        # of two frames the one that keeps the clock of those before them is genuine
        if clock.base_ratio < -steady and 2 * abs(away) < -clock.base_ratio:
            ratio, gap, replaces, intruder = away, over * SCALE.tick, True, -ratio
    learns = ratio > early or n <= SCALE.young or late
    return Timing(
        since, gap, tick, ratio, intruder, early, learns, replaces, period, resumed, habit
    )


@part
def learn_rate(clock, n, time):
    """Let the shortest gap follow, in bounds, and the rate of the frames on time."""
    tick = np.log2(time.since / SCALE.tick + 1.0)
    if n == 1:
        clock.shortest = tick
    elif clock.heard <= CLOCK.settle:
        step = 1.0 / CLOCK.down if tick < clock.shortest else 1.0 / CLOCK.up
        clock.shortest += step * (tick - clock.shortest)
    elif tick < clock.shortest:
        clock.shortest -= min(clock.shortest - tick, CLOCK.drift * time.since)
    else:
        most = CLOCK.drift * time.since
        clock.shortest += min(max(clock.log_period - clock.shortest, -most), most)
    if time.learns:
        memory, gap = min(max(clock.heard, SCALE.tick), SCALE.memory), max(time.gap, SCALE.tick)
        weight = 1.0 - np.exp(-gap / memory) if n > 1 else 1.0
        clock.rate += weight * (SCALE.tick / gap - clock.rate)
    clock.heard += time.since


@part
def learn_clock(clock, n, now, time):
    """Let the period and the jitter follow, and keep the time of a frame on time."""
    weight = max(min(1.0, time.since / SCALE.memory), 1.0 / max(n, 1) if n <= SCALE.young else 0.0)
    if time.resumed:
        clock.base_time, clock.clock_time, clock.base_ratio, clock.last_time = now, now, 0.0, now
        return
    if n:
        learn_rate(clock, n, time)
    if n == 1:
        clock.log_period = time.tick
    elif n > 1:
        clock.log_period += weight * min(max(time.ratio, -CLOCK.pull), CLOCK.pull)
        # what comes early must not make room for more of it
        most = 1.0 if time.learns else -time.early
        clock.jitter += weight * (min(abs(time.ratio), most) - clock.jitter)
    if time.learns:
        if not time.replaces:
            clock.clock_time = clock.base_time
        clock.base_time, clock.base_ratio = now, time.ratio
    clock.last_time = now


# Trust: who was there from the beginning is normal; who turns up later earns it by time, since
# frames are cheap

TRUST = _constants(
    warm_up=5.0,  # s; IDs first seen in it are trusted: something has to be normal,
    late=8.0,  # gaps; but one first seen later than so many of its own missed its first turns
    regular=0.5,  # octaves; a gap this near to the period earns trust
    probation=60.0,  # s; time constant of trust that is earned
    loss=1 / 8,  # of what was earned, that an irregular gap costs
)
TRUST_RECORD = [("amount", np.float64), ("first_time", np.float64)]


@part
def judge_trust(trust, n, now, began, gap, foreign):
    """The trust in an ID, 0 to 1, on a bus that was first heard at `began`."""
    if n == 0:
        trust.first_time = now
        trust.amount = 1.0 if now - began <= TRUST.warm_up and not foreign else 0.0
    elif n == 1 and trust.first_time - began > TRUST.late * gap:
        trust.amount = 0.0
    return trust.amount


@part
def learn_trust(trust, n, time):
    if n < 2:
        return
    if abs(time.ratio) < TRUST.regular:
        trust.amount += (1.0 - trust.amount) * min(1.0, time.since / TRUST.probation)
    elif trust.amount < 1.0:
        trust.amount -= trust.amount * TRUST.loss


# Flips: which bits of the payload change

FLIPS = _constants(
    memory=64.0,  # frames; flip rates learn from as many, and for `SCALE.memory` at least
    floor=0.02,  # added to the variance of a bit: one that rests may flip once
    rest=1e-4,  # a flip rate under it counts as 0, so that bytes at rest cost no time
    trend=16.0,  # frames; time constant of flip_trend
    clip=8.0,  # standard deviations
)
# the bits of every byte value as float32, so that eight are compared at once
BITS = ((np.arange(256)[:, None] >> np.arange(8)) & 1).astype(np.float32)


FLIPS_RECORD = [
    ("rate", np.float32, (WIDTH, 8)),  # how often each bit flips
    ("moves", np.uint8, (WIDTH,)),  # whether any bit of a byte does
    ("trend", np.float32),
]


@part
def clear(work):
    work.flips[:], work.expected[:], work.spread[:] = 0, 0, 0
    work.chi[:], work.usual[:] = 0, 0


@per_byte
def judge_flips(flips, j, changed, work):
    """Add the bits of byte j, of which `changed` flip, to the `sums of `work`."""
    bits, one, floor = BITS[changed], np.float32(1.0), np.float32(FLIPS.floor)
    for b in range(8):
        f, q = bits[b], flips.rate[j, b]
        u = q * (one - q)
        weight = one / (u + floor)
        work.flips[b] += f
        work.expected[b] += q
        work.spread[b] += u
        work.chi[b] += (f - q) * (f - q) * weight
        work.usual[b] += u * weight


@per_byte
def learn_flips(flips, j, changed, step):
    bits, rest, moves = BITS[changed], np.float32(FLIPS.rest), False
    for b in range(8):
        q = flips.rate[j, b]
        q += step * (bits[b] - q)
        q = q if q > rest else np.float32(0.0)
        flips.rate[j, b] = q
        moves |= q > 0
    flips.moves[j] = np.uint8(moves)


@part
def flip_excess(work):
    """Flips more or fewer than the rates say, in standard deviations."""
    excess = (work.flips.sum() - work.expected.sum()) / np.sqrt(1.0 + work.spread.sum())
    return min(max(excess, -FLIPS.clip), FLIPS.clip)


@part
def flip_surprise(work):
    """How unlikely the flips are, octaves."""
    chi, usual = np.float64(work.chi.sum()), np.float64(work.usual.sum())
    return max(np.log2((1.0 + chi) / (1.0 + usual)), 0.0)


# Moves: how long a byte rests, how far it steps, which values it takes

MOVES = _constants(
    memory=60.0,  # s; time constant of the longest rest and the longest step
    worn=5.0,  # s; while a byte rests, its longest rest grows by an octave in this time
    known=4,  # changes; before, the rests and steps of a byte are not judged
)
MOVES_RECORD = [
    ("rest", np.float32, (WIDTH,)),  # frames that a byte has not changed
    ("longest", np.float32, (WIDTH,)),  # frames, the longest such rest so far
    ("step", np.float32, (WIDTH,)),  # the longest step so far
    ("changes", np.uint8, (WIDTH,)),  # how often it changed, up to 255
    ("values", np.uint8, (WIDTH, 32)),  # one bit for each value it took
]


@per_byte
def step_size(value, before):
    """The way from one value to the other, the shorter one around 256."""
    size = np.float32((value - before) & 255)
    return min(size, np.float32(256.0) - size)


@per_byte
def judge_moves(moves, j, resting, size):
    """The rest of byte j over its longest rest, and its step over its longest step."""
    one, stuck, leap = np.float32(1.0), np.float32(1.0), np.float32(1.0)
    if moves.changes[j] >= MOVES.known:
        stuck = (one + resting) / (one + moves.longest[j])
        leap = (one + size) / (one + moves.step[j])
    return stuck, leap


@per_byte
def learn_moves(moves, j, resting, size, pace):
    one = np.float32(1.0)
    if size > 0:
        longest, steps = moves.longest[j], moves.step[j]
        moves.longest[j] = max(longest * pace.fade, min(resting, 2 * longest + 1))
        moves.step[j] = max(steps * pace.fade, min(size, 2 * steps + 1))
        moves.changes[j] = min(moves.changes[j] + 1, 255)
        moves.rest[j] = 0.0
    else:
        moves.rest[j] = resting
        if resting > moves.longest[j]:
            moves.longest[j] = pace.worn * (one + moves.longest[j]) - one


@per_byte
def judge_value(moves, j, value):
    """Whether byte j never had this value."""
    return not moves.values[j, value >> 3] & np.uint8(1 << (value & 7))


@per_byte
def learn_value(moves, j, value):
    moves.values[j, value >> 3] |= np.uint8(1 << (value & 7))


# Rules: what counters and checksums have in common

RULES = _constants(
    memory=256.0,  # frames; time constant of how reliable a rule is
    rule=0.95,  # reliability of a rule: the pages of a multiplexer keep their step 12 times of 13,
    faded=0.9,  # it stays one until here while broken: a counter that stops is told 6 s, not 3
    once=1 / 64,  # of its reliability, that a single break costs
    fading=60.0,  # s; time constant of its reliability while it stays broken
    anew=0.5,  # reliability under which another count or sum is tried
    proofs=2,  # different changes of a payload that prove a checksum: of those that say two things
    # in turn, one in 256 keeps each by chance
)


class Lapse(IntEnum):
    """What the last frame did to a counter or checksum."""

    KEPT = 0
    MISSED = 1  # it was no rule yet
    BROKEN = 2  # it was a rule, and still is one until it fades
    EXCUSED = 3  # until it is kept again


KEPT, MISSED, BROKEN, EXCUSED = (np.uint8(lapse.value) for lapse in Lapse)


@per_byte
def is_rule(kept, lapsed):
    return (kept > RULES.rule) | ((lapsed >= BROKEN) & (kept > RULES.faded))


@part
def surprise_of(kept, judged):
    """Bits of surprise when a rule breaks that was judged so often; under 0 if there is none."""
    return -np.log2(1.0 - kept + max(1.0 / (judged + 1), 1.0 / RULES.memory))


@per_byte
def kept_after(kept, rule, hit, broken, lapsed, weight, again):
    """How reliable a rule is after another frame. Of a rule that held, a first break says nothing
    yet: broken again, it fades with `again`; kept again, it is one that is broken at times."""
    if rule & (weight > 0) & (lapsed | broken):
        cost = np.float32(RULES.once) if hit else again if lapsed else np.float32(0.0)
        return kept - kept * cost
    return kept + weight * (np.float32(hit) - kept)


# Counters: two bits of a byte that turn by the same step at each frame

COUNTERS_RECORD = [
    ("turn", np.uint8, (WIDTH, 4)),  # the step of each pair of bits,
    ("kept", np.float32, (WIDTH, 4)),  # how reliably it is kept,
    ("lapsed", np.uint8, (WIDTH, 4)),  # and what the last frame did to it, a `Lapse`
]


class Count(NamedTuple):
    """What the counters of a byte have to go on: its `value`, the one `before`, the one `passed` in
    an early frame since, and how many frames `missing` explains."""

    value: int
    before: int
    passed: int
    missing: int


@per_byte
def judge_counters(counters, j, count, hit):
    """How reliable the best counter of byte j is that is broken and not excused, whether one is
    kept, and whether there is any; `hit[c]` says whether the pair of bits c keeps its step."""
    lost, held, ruled = np.float32(0.0), False, False
    for c in range(4):  # without branches, which would be guessed wrong half of the time
        now, ago = count.value >> (2 * c), count.before >> (2 * c)
        aside, missing = count.passed >> (2 * c), count.missing
        turn = np.uint8((now - ago) & 3)
        old, kept, lapsed = counters.turn[j, c], counters.kept[j, c], counters.lapsed[j, c]
        # AUTOSAR's E2E profile 1 counts to 14: 0xF is no count
        around = (now & 15 < ago & 15) & (now & 15 == ((ago & 15) + missing) % 15)
        around |= (now & 15 < aside & 15) & (now & 15 == ((aside & 15) + 1) % 15)
        right = (turn == old) | (turn == (old * missing & 3)) | ((now - aside) & 3 == old)
        right |= around & (ago & 15 != 15) & (old == 1) & (c % 2 == 0)
        rule = is_rule(kept, lapsed) & (old != 0)  # bits that rest are no counter
        lost = max(lost, kept * np.float32(~right & rule & (lapsed != EXCUSED)))
        held |= right & rule
        ruled |= rule
        hit[c] = right
    return lost, held, ruled


@per_byte
def learn_counters(counters, j, count, hit, pace):
    weight = pace.counting
    for c in range(4):
        turn = np.uint8(((count.value >> (2 * c)) - (count.before >> (2 * c))) & 3)
        old, kept, lapsed = counters.turn[j, c], counters.kept[j, c], counters.lapsed[j, c]
        broken, rule = ~hit[c] & (old != 0), is_rule(kept, lapsed)
        again = (lapsed > KEPT) & (lapsed != EXCUSED)
        kept = kept_after(kept, rule, hit[c], broken, again, weight, pace.again)
        counters.kept[j, c] = kept
        counters.turn[j, c] = turn if (kept < RULES.anew) & (weight > 0) else old
        after = EXCUSED if rule & (lapsed == EXCUSED) else BROKEN if rule else MISSED
        counters.lapsed[j, c] = np.uint8(broken) * after if weight > 0 else lapsed


@part
def excuse_counters(counters, dlc):
    """What counts only while the payload rests is a checksum: excused until it is kept again."""
    for k in range(4 * dlc):
        counters.lapsed[k // 4, k % 4] += counters.lapsed[k // 4, k % 4] == BROKEN


# Checksums: XOR or sum of all bytes, the last minus the others; sums without the byte before the
# last, which is the upper one of a sum of 16 bits; CRC-8 SAE J1850 in the last byte or in the
# first, as in AUTOSAR's E2E profile 1. What it starts from, a data ID too, shifts it by a constant.

SUMS = 7
CHECKSUMS_RECORD = [
    ("value", np.uint8, (SUMS,)),
    ("kept", np.float32, (SUMS,)),
    ("lapsed", np.uint8, (SUMS,)),  # a `Lapse`
    ("proven", np.uint8, (SUMS,)),  # how often it was kept while bytes changed that do not cancel
    ("proof", np.uint8, (SUMS,)),  # out, each time otherwise than this time before
    ("seen", np.int64),  # payloads that were judged
]


@per_byte
def note_delta(delta, moved, j, dlc, count):
    """What each checksum sees of the change of byte j, the `moved`th that changes."""
    step, crossed = np.uint8(count.value - count.before), count.value ^ count.before
    delta[0, moved], delta[1:5, moved] = crossed, step
    delta[5, moved] = np.uint8((2 * j + 1) * crossed)  # of all, one number tells two changes apart
    if j == dlc - 1:
        delta[2:4, moved] = np.uint8(count.before - count.value)
    elif j == dlc - 2 > 0:
        delta[3:5, moved] = 0


@part
def cancels(k, delta):
    """Whether the differences of the bytes that moved leave checksum k as it was in pairs, which no
    CRC allows."""
    if k >= 5:
        return False
    for a in delta[k]:
        same, opposite = 0, 0
        for b in delta[k]:
            same += b == a
            opposite += b == np.uint8(-a)
        if same % 2 if k == 0 else same != opposite:
            return False
    return True


@part
def checksum_values(payload):
    crossed, total, front, back, dlc = 0, 0, np.uint8(0), np.uint8(0), len(payload)
    for j in range(dlc):
        byte = payload[j]
        crossed, total = crossed ^ byte, total + byte
        if j < dlc - 1:
            front = CRC_8[front ^ byte]
        if j > 0:
            back = CRC_8[back ^ byte]
    last = 2 * payload[dlc - 1] - total
    upper = payload[dlc - 2] if dlc > 2 else 0
    sums = crossed & 255, total & 255, last & 255, (last + upper) & 255, (total - upper) & 255
    return (*sums, np.int64(front ^ payload[dlc - 1]), np.int64(back ^ payload[0]))


@part
def judge_checksums(sums, values, delta):
    """The surprise in bits at the best checksum that is broken, 0 if a proven one is kept by bytes
    that do not cancel out in pairs, as a counter that is there twice does; and whether one is:
    while it is, another that is broken was none."""
    known, authentic, broken = sums.seen >= SCALE.young, False, 0.0
    for k in range(SUMS):
        proven = sums.proven[k] == RULES.proofs
        if known and proven and sums.kept[k] > RULES.rule and values[k] == sums.value[k]:
            authentic |= not cancels(k, delta)
    for k in range(SUMS):
        rule = is_rule(sums.kept[k], sums.lapsed[k]) and values[k] != sums.value[k]
        if rule and sums.proven[k] == RULES.proofs and known and not authentic:
            broken = max(broken, surprise_of(sums.kept[k], sums.seen))
    return broken, authentic


@part
def learn_checksums(sums, values, delta, authentic, again):
    weight = np.float32(max(1.0 / (sums.seen + 1), 1.0 / RULES.memory))
    change = delta[5].sum() & 255
    for k in range(SUMS):
        hit, kept, lapsed = values[k] == sums.value[k], sums.kept[k], sums.lapsed[k]
        rule = is_rule(kept, lapsed)
        sums.kept[k] = kept_after(kept, rule, hit, not hit, lapsed > KEPT, weight, again)
        sums.lapsed[k] = KEPT if hit else BROKEN if rule else MISSED
        if hit and lapsed == KEPT and sums.proven[k] < RULES.proofs:
            if change != sums.proof[k] and not cancels(k, delta):
                sums.proven[k], sums.proof[k] = sums.proven[k] + 1, change
        elif not hit and (authentic or sums.kept[k] < RULES.anew):
            sums.value[k], sums.proven[k], sums.proof[k] = values[k], 0, 0  # it accuses none behind
            sums.kept[k] = min(sums.kept[k], np.float32(RULES.anew))
    sums.seen += 1


# Usual: what is unusual is measured by what is usual for the ID

# Amounts that do not matter: told of a surprise v is log2((grain + v)/(grain + usual)).
GRAIN = _constants(
    gap=0.1,  # octaves of |gap_ratio|
    flip=0.5,  # octaves
    novel=0.05,  # share of the bytes
    leap=0.5,  # octaves
    rule=0.5,  # bits
)
# The largest amounts that enter what is usual, so that one frame cannot excuse many.
LEVEL = _constants(
    gap=6.0,
    flip=3.0,
    novel=1.0,
    leap=3.0,
    rule=3.0,
)
USUAL_RECORD = [(name, np.float32) for name in GRAIN._fields]


class Raw(NamedTuple):
    """Surprises as they are, before what is usual is taken from them; units as in `Grain`."""

    gap: float
    flip: float
    novel: float
    leap: float
    rule: float


@part
def beyond(usual, raw, grain, n):
    """Octaves that a surprise has over what is usual, at least 0; milder while there is little to
    go on."""
    grain *= 1.0 + SCALE.young / max(n, 1)
    return max(np.log2((grain + raw) / (grain + usual)), 0.0)


@part
def judge_usual(usual, raw, n, out):
    out.gap_surprise = beyond(usual.gap, raw.gap, GRAIN.gap, n)
    out.flip_surprise = beyond(usual.flip, raw.flip, GRAIN.flip, n)
    out.novel_bytes = beyond(usual.novel, raw.novel, GRAIN.novel, n)
    out.leap = beyond(usual.leap, raw.leap, GRAIN.leap, n)
    out.broken_rule = beyond(usual.rule, raw.rule, GRAIN.rule, n)


@part
def toward(usual, raw, level, weight):
    return usual + np.float32(weight * (min(raw, level) - usual))


@part
def learn_usual(usual, raw, n, time):
    weight = min(1.0, time.period * SCALE.tick / SCALE.memory)
    if not time.learns:  # many early frames count no more than the time they take
        weight = min(weight, time.since / SCALE.memory)
    weight = max(weight, 1.0 / max(n, 1) if n <= SCALE.young else 0.0)
    usual.gap = toward(usual.gap, raw.gap, LEVEL.gap, weight)
    if time.learns:
        usual.flip = toward(usual.flip, raw.flip, LEVEL.flip, weight)
        usual.novel = toward(usual.novel, raw.novel, LEVEL.novel, weight)
        usual.leap = toward(usual.leap, raw.leap, LEVEL.leap, weight)
        usual.rule = toward(usual.rule, raw.rule, LEVEL.rule, weight)


# The frame: all parts together

SLOT_RECORD = [
    ("seen", np.int64),  # frames
    ("data", np.uint8, (WIDTH,)),  # the payload of the last frame on time,
    ("before", np.uint8, (WIDTH,)),  # that of the frame on time before it,
    ("dlc", np.uint8),  # and the length of the former;
    ("early", np.uint8, (WIDTH,)),  # the payload of the last frame that was not on time,
    ("early_dlc", np.uint8),  # and its length
]
WORK_RECORD = [
    ("flips", np.float64, (8,)),  # sums over the payload, one for each bit of a byte: of f,
    ("expected", np.float64, (8,)),  # q,
    ("spread", np.float64, (8,)),  # u,
    ("chi", np.float32, (8,)),  # (f-q)²/(u+.02),
    ("usual", np.float32, (8,)),  # and u/(u+.02)
    ("hit", np.uint8, (4,)),  # which counters of a byte are kept
    ("delta", np.uint8, (6, WIDTH)),  # the bytes that changed, as each sum sees the change, and all
]
PARTS = {
    "scale": SCALE,
    "pause": PAUSE,
    "clock": CLOCK,
    "trust": TRUST,
    "flips": FLIPS,
    "moves": MOVES,
    "rules": RULES,
    "grain": GRAIN,
    "level": LEVEL,
}  # the constants, by part


def slot_record(width: int) -> np.dtype:
    """What is remembered of one ID with payloads of up to `width` bytes: a record of each part."""
    records = {
        "clock": CLOCK_RECORD,
        "trust": TRUST_RECORD,
        "flips": FLIPS_RECORD,
        "moves": MOVES_RECORD,
        "counters": COUNTERS_RECORD,
        "sums": CHECKSUMS_RECORD,
        "usual": USUAL_RECORD,
    }
    return _sized(SLOT_RECORD + list(records.items()), width)


def work_record(width: int) -> np.dtype:
    """Room to work on a frame: sums over its payload, which counters are kept, what changed."""
    return _sized(WORK_RECORD, width)


def _sized(record: list, width: int) -> np.dtype:
    """The dtype of a record with payloads of up to `width` bytes."""
    fields = []
    for name, kind, *shape in record:
        kind = _sized(kind, width) if isinstance(kind, list) else kind
        shape = [tuple(width if size == WIDTH else size for size in sizes) for sizes in shape]
        fields.append((name, kind, *shape))
    return np.dtype(fields, align=True)


class Pace(NamedTuple):
    """How fast a frame teaches: whether it `learns` and `replaces` its predecessor, whether it has
    `overtaken` early ones, how many frames are `missing`, the weight of a flip (`step`), of a count
    (`counting`) and of a rule broken `again`, and how the longest rest and step `fade` and are
    `worn`."""

    learns: bool
    replaces: bool
    overtaken: bool
    missing: int
    step: np.float32
    counting: np.float32
    again: np.float32
    fade: np.float32
    worn: np.float32


class Read(NamedTuple):
    """What the bytes of a payload say: the share of `novel` ones, `stuck` and `leap` as ratios, how
    reliable the best counter is that is `broken`, and how many bytes `moved`."""

    novel: float
    stuck: float
    leap: float
    broken: float
    moved: int


@part
def pace_of(clock, n, time):
    missing = 1
    if time.ratio > TRUST.regular:
        missing = int(np.rint(time.gap / (max(time.period - 1.0, 1.0) * SCALE.tick)))
    step = max(1.0 / (n + 1), min(time.gap / SCALE.memory, 1.0 / FLIPS.memory))
    counting = np.float32(time.learns * max(1.0 / max(n, 1), 1.0 / RULES.memory))
    return Pace(
        time.learns,
        time.replaces,
        time.learns and clock.last_time > clock.base_time,
        missing,
        np.float32(time.learns * step),
        counting,
        np.float32(min(time.gap / RULES.fading, counting)),
        np.float32(max(1.0 - time.gap / MOVES.memory, 0.0)),
        np.float32(2.0 ** min(time.gap / MOVES.worn, 1.0)),
    )


@part
def read_payload(p, payload, pace, work):
    """Judge each byte and learn from it: flips, moves, counters; `delta` is for the checksums."""
    n, dlc = p.seen, len(payload)
    novel, stuck, leap, broken, moved, counted, news = 0, 1.0, 1.0, 0.0, 0, False, False
    for j in range(dlc):
        value, before = payload[j], p.before[j] if pace.replaces else p.data[j]
        changed = value ^ before
        if n and (changed or p.flips.moves[j]):
            judge_flips(p.flips, j, changed, work)
            learn_flips(p.flips, j, changed, pace.step)
            passed = p.early[j] if pace.overtaken and j < p.early_dlc else before
            count = Count(value, before, passed, pace.missing)
            lost, held, ruled = judge_counters(p.counters, j, count, work.hit)
            learn_counters(p.counters, j, count, work.hit, pace)
            broken, counted = max(broken, lost), counted or held
            news |= changed > 0 and not ruled  # in a byte that holds no counter
            resting, size = p.moves.rest[j], np.float32(0.0)
            if changed:
                note_delta(work.delta, moved, j, dlc, count)
                moved += 1
                size = step_size(value, before)
            else:
                resting += np.float32(1.0)
            rests, steps = judge_moves(p.moves, j, resting, size)
            stuck, leap = max(stuck, rests), max(leap, steps)
            if pace.learns:
                learn_moves(p.moves, j, resting, size, pace)
        if changed or n == 0:
            # while everything is new, nothing is odd for being new
            novel += judge_value(p.moves, j, value) and (n > 0 or p.trust.amount == 0)
            if pace.learns:
                learn_value(p.moves, j, value)
        if pace.learns:
            p.before[j], p.data[j] = before, value
    if broken > 0 and counted and news:
        broken = 0.0
        excuse_counters(p.counters, dlc if pace.learns else 0)
    return Read(novel / dlc if dlc else 0.0, stuck, leap, broken, moved)


@part
def read_checksums(p, payload, pace, delta):
    """Judge the checksums of a payload and learn from it; bits of surprise."""
    values = checksum_values(payload)
    broken, authentic = judge_checksums(p.sums, values, delta)
    if pace.learns:
        learn_checksums(p.sums, values, delta, authentic, pace.again)
        if authentic:
            p.counters.kept[len(payload) - 1] = 0.0  # what counts in a checksum is no counter
    return 0.0 if authentic else broken


@part
def read_frame(p, now, payload, began, foreign, out, work):
    """Judge a frame by what is known of its ID in slot `p`, write `out`, learn."""
    n, dlc, clock = p.seen, len(payload), p.clock
    # a clock set back must not have to catch up before the ID is on time again
    clock.base_time = min(clock.base_time, now)
    resumed = n > 0 and clock.last_time < began
    time = judge_clock(clock, n, now, resumed)
    trust = judge_trust(p.trust, n, now, began, time.gap, foreign)
    pace = pace_of(clock, n, time)
    clear(work)
    read = read_payload(p, payload, pace, work)
    summed = 0.0
    if dlc and (read.moved or n == 0):
        summed = read_checksums(p, payload, pace, work.delta[:, : read.moved])
    excess, ratio = flip_excess(work), time.ratio
    if ratio < 0:
        ratio = min(ratio - time.habit, 0.0)
    if time.learns:
        p.flips.trend += (np.float32(excess) - p.flips.trend) / np.float32(FLIPS.trend)
    rule = max(surprise_of(read.broken, n), summed)
    raw = Raw(abs(ratio), flip_surprise(work), read.novel, np.log2(read.leap), rule)
    if resumed:  # what it did in the pause nobody knows
        raw, excess = Raw(0.0, 0.0, 0.0, 0.0, 0.0), 0.0
    judge_usual(p.usual, raw, n, out)
    out.gap_ratio, out.jitter, out.intruder = ratio, clock.jitter, time.intruder
    out.distrust, out.rate = 1.0 - trust, trust * clock.rate if n >= 2 else 0.0
    out.flip_excess, out.flip_trend = excess, p.flips.trend
    out.stuck = 0.0 if resumed else min(np.log2(read.stuck), SCALE.clip)
    out.dlc_change = 1.0 if n and dlc != p.dlc else 0.0
    if n and not resumed:
        learn_usual(p.usual, raw, n, time)
        learn_trust(p.trust, n, time)
    learn_clock(clock, n, now, time)
    if time.learns:
        p.dlc = dlc
    else:
        p.early[:dlc], p.early_dlc = payload, dlc
    p.seen = n + 1


@numba.njit(cache=True, nogil=True, error_model="numpy")
def judge_and_learn(frames, table, work, out, log_period, share, shares):
    """Write `out`, records `FRAME`, and the `log_period` before the frame, of those `frames`
    (`Columns`) whose slot in `table` falls to this `share` of `shares`."""
    for i in range(len(frames.timestamp)):
        s = frames.slot[i]
        if s % shares == share:
            payload = frames.data[i, : frames.bytes_used[i]]
            log_period[i], foreign = table[s].clock.log_period, s >= frames.known > 0
            now, since = frames.timestamp[i], frames.since[i]
            read_frame(table[s], now, payload, since, foreign, out[i], work[share])
