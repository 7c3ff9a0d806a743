"""The running profile of each arbitration ID: what is normal for it, learnt frame by frame.

One numba kernel reads frames in order and says of each how it departs from what its ID did so
far. Nothing looks ahead, and nothing depends on which car it is: a gap is measured in the ID's
own periods, a payload against the ID's own bit flip rates. Fed in one piece or frame by frame
the kernel gives the same bits, so that training and a live monitor see the same features.

Learning is bounded, so that an attack cannot rewrite the profile (all constants below):
the period moves by at most `_STEP / _MEMORY` octaves a second however many frames are injected,
what is usual of gaps by the time they take, and payload statistics learn only from frames that did
not come early.
"""

from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np

from cangraph.features import FRAME_FEATURES
from cangraph.frames import Frames
from cangraph.memory import Profiles

__all__ = ["profile"]

_HALF_MICROSECOND = 5e-4  # ticks; an epoch time in float64 is only exact to .24 µs
_TICK = 1e-3  # s; gaps are quantised to it, finer ones tell the recording device, not the attack
_MEMORY = 20.0  # s; time constant of the running period
_STEP = 0.5  # octaves; a single gap pulls the period by no more than this
_YOUNG = 8  # gaps; an ID's first ones are averaged plainly
_EARLY = (0.25, 2.0, 1.0)  # octaves; a frame earlier than a + b·jitter, at most c, teaches nothing
_REGULAR = 0.5  # octaves; a gap this near to the period earns trust
_WARM_UP = 5.0  # s; IDs first seen in it are trusted: something has to be normal
_START, _LATE = 1.0, 8.0  # s, gaps; but one that misses its first 8 turns has not been there
_PROBATION = 60.0  # s; time constant of the trust in an ID that turns up later
_FLIP_MEMORY = 64.0  # frames; the flip rates have no shorter time constant, nor one under 20 s
_TREND = 16.0  # frames; time constant of flip_trend
_LONG_MEMORY = 60.0  # s; time constant of the longest rest and the longest step of a byte
_WORN = 5.0  # s; while a byte rests, its longest rest grows by an octave in this time
_MOVED = 4  # changes; before, a byte's rests and steps are not judged
_RULE_MEMORY = 256.0  # frames; time constant of a rule's reliability
_RULE = 0.9  # reliability from which on a counter or checksum is one
_REST = 1e-4  # a flip rate under it counts as 0, so that bytes at rest cost no time
_CLIP = 6.0  # octaves
# what is unusual for an ID: |gap_ratio|, flip surprise, share of novel bytes, leap, broken rule;
# the amounts that do not matter, and the largest that enter what is usual
_GRAIN = np.array([0.1, 0.5, 0.05, 0.5, 0.5])
_LEVEL = np.array([1.0, 3.0, 1.0, 3.0, 3.0])


# the bits of every byte value as float32, so that eight are compared at once
_BITS = ((np.arange(256)[:, None] >> np.arange(8)) & 1).astype(np.float32)


def profile(
    frames: Frames, state: Profiles | None = None, threads: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Features of each frame relative to its ID's past, f4 (n, 14) in `FRAME_FEATURES` order,
    and the slot of its ID, i8 (n,). Updates `state`. The IDs are shared out among `threads`, which
    changes no bit.

    Gap g and period p are in ticks of 1 ms (g = ⌊Δt/1 ms⌋ + 1), Δt since the ID's last frame that
    was on time, δt since its last frame, both in whole ms, r = log2(g/p), n the ID's gaps so far;
    bit b flips (f_b = 1) or not, at the ID's rate q_b; u_b = q_b(1-q_b):

        log2 p ← log2 p + w·clip(r, ±½),  w = min(1, δt/20 s), and at least 1/n while n <= 8
        on time: r > -min(.25 + 2·jitter, 1), or n <= 8
        intruder = -r if early, but 2·|log2(g'/p)| < -r' and r' < -.1, where r' is the ratio of the
                   last frame on time and g' the gap since the one before it: that one was out of
                   turn, and r and flips count from the one before it
        q_b ← q_b + max(1/(n+1), min(Δt/20 s, 1/64))·(f_b - q_b), if on time
        flip_excess   = (Σ f_b - Σ q_b) / sqrt(1 + Σ u_b)
        flip_surprise = log2((1 + Σ (f_b-q_b)²/(u_b+.02)) / (1 + Σ u_b/(u_b+.02)))
        stuck = max over bytes of log2((1 + rest)/(1 + longest rest)), at least 0
        leap  = max over bytes of log2((1 + step)/(1 + longest step)), at least 0
        broken_rule = max over broken rules of -log2(1 - k + max(1/256, 1/(n+1))), k > .9 how often
                      it was kept; broken again and again, k fades with 60 s

    What is told of |r|, flip_surprise, novel_bytes, leap and broken_rule, a raw value v with the
    running mean m of what it was and the grain c(1 + 8/n), c in `_GRAIN`, is what it has over
    what is usual: log2((grain + v)/(grain + m)), at least 0.

    Rules are two-bit counters (the lower bits of wider ones too) that turn by the same step at
    each frame, and checksums: XOR or sum of all bytes, or the last byte minus the sum of the
    others, that stay the same while the payload changes.

    >>> frames = Frames(np.arange(40) * 0.01, np.full(40, 0x1A0))
    >>> features, slots = profile(frames)
    >>> features[-1, 0].item(), features[0, 2].item()  # on time; seen for the first time
    (0.0, 0.0)
    """
    state = state or Profiles()
    key = frames.arbitration_id | (frames.is_extended_id.astype(np.uint32) << 31)
    slots = state.slots_of(key, frames.data.shape[1])
    if len(frames) and np.isnan(state.began):
        state.began = float(frames.timestamp[0])
    out = np.empty((len(frames), len(FRAME_FEATURES)), np.float32)
    columns = frames.timestamp, frames.bytes_used, frames.data

    def run(share: int) -> None:  # IDs know nothing of each other
        _profile(*columns, slots, state.began, state.table, out, share, threads)

    if threads == 1:  # frame by frame, a pool would cost more than the kernel
        run(0)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(run, range(threads)))
    return out, slots


@numba.njit(cache=True, nogil=True)
def _ticks(seconds):
    return np.floor(max(seconds, 0.0) / _TICK + _HALF_MICROSECOND)


@numba.njit(cache=True, nogil=True)
def _bits(reliability, judged):
    """Surprise in bits when a rule is broken that was judged so often, 0 for what is no rule."""
    if reliability <= _RULE:
        return 0.0
    return -np.log2(1.0 - reliability + max(1.0 / (judged + 1), 1.0 / _RULE_MEMORY))


@numba.njit(cache=True, nogil=True)
def _counters(p, j, value, before, weight, again):
    """Judge the four two-bit counters of byte j, which was `before`; learn with `weight`, or with
    `again` where a rule is broken twice in a row. Returns how reliable the best of those was that
    are broken."""
    lost = np.float32(0.0)
    for c in range(4):  # without branches, which would be guessed wrong half of the time
        turn = np.uint8(((value >> (2 * c)) - (before >> (2 * c))) & 3)
        old, kept = p.turn[j, c], p.kept[j, c]
        hit = turn == old
        broken = (turn != old) & (old != 0)  # bits that rest are no counter
        lost = max(lost, kept * np.float32(broken))
        kept += (again if broken & (p.lapsed[j, c] > 0) & (kept > _RULE) else weight) * (
            np.float32(hit) - kept
        )
        p.kept[j, c] = kept
        p.turn[j, c] = turn if (kept < 0.5) & (weight > 0) else old
        p.lapsed[j, c] = broken if weight > 0 else p.lapsed[j, c]
    return lost


@numba.njit(cache=True, nogil=True)
def _checksums(p, data, i, dlc, learns, again):
    """Judge the checksums of a payload that has changed; learn, with `again` where a checksum is
    broken twice in a row. Returns how reliable the best of those was that are broken."""
    crossed, total = np.uint8(0), 0
    for j in range(dlc):
        crossed ^= data[i, j]
        total += data[i, j]
    broken = 0.0
    weight = np.float32(max(1.0 / (p.sums_seen + 1), 1.0 / _RULE_MEMORY))
    for k in range(3):
        value = crossed
        if k:
            value = np.uint8((total if k == 1 else 2 * data[i, dlc - 1] - total) & 255)
        kept = p.sums_kept[k]
        if value == p.sums[k]:
            if learns:
                p.sums_kept[k] = kept + weight * (np.float32(1.0) - kept)
                p.sums_lapsed[k] = 0
        else:
            if p.sums_seen >= _YOUNG:
                broken = max(broken, kept)
            if learns:
                lasting = p.sums_lapsed[k] and kept > _RULE
                p.sums_kept[k] = kept - (again if lasting else weight) * kept
                p.sums_lapsed[k] = 1
                if p.sums_kept[k] < 0.5:  # one broken frame does not accuse those behind it
                    p.sums[k] = value
    if learns:
        p.sums_seen += 1
    return broken


@numba.njit(cache=True, nogil=True)
def _profile(timestamp, bytes_used, data, slots, began, table, out, share, shares):
    # one lane for each bit of a byte: sums of f, q, u, (f-q)²/(u+.02), u/(u+.02)
    flips, expected, spread = np.empty(8), np.empty(8), np.empty(8)
    chi, usual = np.empty(8, np.float32), np.empty(8, np.float32)
    raw = np.empty(5)
    one, floor, rest = np.float32(1.0), np.float32(0.02), np.float32(_REST)
    for i in range(len(timestamp)):
        s = slots[i]
        if s % shares != share:
            continue
        p = table[s]
        n, dlc = p.seen, bytes_used[i]
        # a clock set back must not have to catch up before the ID is on time again
        p.base_time = min(p.base_time, timestamp[i])
        since, gap = _ticks(timestamp[i] - p.last_time), _ticks(timestamp[i] - p.base_time)
        tick = np.log2(gap + 1.0)
        # learning counts whole ticks too: a rate of learning that knows finer ones tells them
        since, gap = since * _TICK, gap * _TICK
        ratio = 0.0
        if n >= 2:  # a period is known from the second frame on
            ratio = min(max(tick - p.log_period, -_CLIP), _CLIP)
        early = -min(_EARLY[0] + _EARLY[1] * p.jitter, _EARLY[2])
        clock, intruder = False, 0.0
        if ratio <= early and n > _YOUNG and p.base_ratio < -_GRAIN[0]:
            # of two frames the one that keeps the clock of those before them is genuine
            over = _ticks(timestamp[i] - p.clock_time) * _TICK
            away = np.log2(_ticks(timestamp[i] - p.clock_time) + 1.0) - p.log_period
            if 2 * abs(away) < -p.base_ratio:
                ratio, gap, clock, intruder = away, over, True, -ratio

        if n == 0:
            p.first_time = timestamp[i]
            p.trust = 1.0 if timestamp[i] - began <= _WARM_UP else 0.0
        elif n == 1 and p.first_time - began > max(_START, _LATE * gap):
            p.trust = 0.0

        novel, stuck, leap, broken, any_change = 0, 1.0, 1.0, 0.0, False
        flips[:], expected[:], spread[:], chi[:], usual[:] = 0, 0, 0, 0, 0
        learns = ratio > early or n <= _YOUNG
        step = np.float32(0.0)
        counting = np.float32(0.0)
        if learns:
            step = np.float32(max(1.0 / (n + 1), min(gap / _MEMORY, 1.0 / _FLIP_MEMORY)))
            counting = np.float32(max(1.0 / max(n, 1), 1.0 / _RULE_MEMORY))
        fade = np.float32(max(1.0 - gap / _LONG_MEMORY, 0.5))
        worn = np.float32(2.0 ** min(gap / _WORN, 1.0))
        again = np.float32(min(gap / _LONG_MEMORY, counting))
        for j in range(dlc):
            value, before = data[i, j], p.clock_data[j] if clock else p.data[j]
            changed = value ^ before
            if n and (changed or p.moves[j]):
                bits = _BITS[changed]
                moves = False
                for b in range(8):
                    f, q = bits[b], p.rate[j, b]
                    u = q * (one - q)
                    weight = one / (u + floor)
                    flips[b] += f
                    expected[b] += q
                    spread[b] += u
                    chi[b] += (f - q) * (f - q) * weight
                    usual[b] += u * weight
                    q += step * (f - q)
                    q = q if q > rest else np.float32(0.0)
                    p.rate[j, b] = q
                    moves |= q > 0
                p.moves[j] = np.uint8(moves)
                broken = max(broken, _counters(p, j, value, before, counting, again))
                resting, size = p.rest[j], np.float32(0.0)
                if changed:
                    any_change = True
                    size = np.float32((value - before) & 255)
                    size = min(size, np.float32(256.0) - size)
                else:
                    resting += one
                if p.changes[j] >= _MOVED:
                    stuck = max(stuck, (one + resting) / (one + p.longest[j]))
                    leap = max(leap, (one + size) / (one + p.step[j]))
                if learns:
                    if changed:
                        longest, steps = p.longest[j], p.step[j]
                        p.longest[j] = max(longest * fade, min(resting, 2 * longest + 1))
                        p.step[j] = max(steps * fade, min(size, 2 * steps + 1))
                        p.changes[j] = min(p.changes[j] + 1, 255)
                        p.rest[j] = 0.0
                    else:
                        p.rest[j] = resting
                        if resting > p.longest[j]:
                            p.longest[j] = worn * (one + p.longest[j]) - one
            if changed or n == 0:
                bit = np.uint8(1 << (value & 7))
                # while everything is new, nothing is odd for being new
                if not p.values[j, value >> 3] & bit and (n or p.trust == 0):
                    novel += 1
                if learns:
                    p.values[j, value >> 3] |= bit
            if learns:
                p.clock_data[j], p.data[j] = before, value
        if dlc and (any_change or n == 0):
            broken = max(broken, _checksums(p, data, i, dlc, learns, again))
        flipped, likely = flips.sum(), expected.sum()
        excess = min(max((flipped - likely) / np.sqrt(1.0 + spread.sum()), -8.0), 8.0)
        if learns:
            p.trend += (np.float32(excess) - p.trend) / np.float32(_TREND)
        surprise = np.log2((1.0 + np.float64(chi.sum())) / (1.0 + np.float64(usual.sum())))
        raw[0], raw[1], raw[2] = abs(ratio), max(surprise, 0.0), novel / dlc if dlc else 0.0
        raw[3], raw[4] = np.log2(leap), _bits(broken, n)
        weight = min(1.0, 2.0**p.log_period * _TICK / _MEMORY)
        if not learns:  # many early frames count no more than the time they take
            weight = min(weight, since / _MEMORY)
        if n <= _YOUNG:
            weight = max(weight, 1.0 / max(n, 1))
        for k in range(5):
            grain = _GRAIN[k] * (1.0 + _YOUNG / max(n, 1))
            unusual = np.log2((grain + raw[k]) / (grain + p.usual[k]))
            if n and (learns or k == 0):
                p.usual[k] += np.float32(weight * (min(raw[k], _LEVEL[k]) - p.usual[k]))
            raw[k] = max(unusual, 0.0)
        out[i, 0], out[i, 1], out[i, 2], out[i, 3] = ratio, raw[0], p.jitter, intruder
        out[i, 4], out[i, 5], out[i, 6], out[i, 7] = 1.0 - p.trust, excess, raw[1], p.trend
        out[i, 8], out[i, 9], out[i, 10] = min(np.log2(stuck), _CLIP), raw[2], raw[3]
        out[i, 11], out[i, 12] = 1.0 if n and dlc != p.dlc else 0.0, raw[4]
        out[i, 13] = p.trust / 2.0**p.log_period if n >= 2 else 0.0

        if n:
            weight = min(1.0, since / _MEMORY)
            if n <= _YOUNG:
                weight = max(weight, 1.0 / n)
            if n == 1:
                p.log_period = tick
            else:
                p.log_period += weight * min(max(ratio, -_STEP), _STEP)
                p.jitter += weight * (min(abs(ratio), 1.0) - p.jitter)
                if abs(ratio) < _REGULAR:
                    p.trust += (1.0 - p.trust) * min(1 / 16, since / _PROBATION)
                elif p.trust < 1.0:
                    p.trust -= p.trust / 8
        if learns:
            p.dlc = dlc
            if not clock:
                p.clock_time = p.base_time
            p.base_time, p.base_ratio = timestamp[i], ratio
        p.last_time, p.seen = timestamp[i], n + 1
