"""The kernel of the running profiles: frames in, features out, the table of slots updated.

`profiles.profile` has its equations; all constants are here: numba's cache knows no other file.
"""

import numba
import numpy as np

__all__ = ["learn_and_judge"]

_HALF_MICROSECOND = 5e-4  # ticks; an epoch time in float64 is only exact to .24 µs
_TICK = 1e-3  # s; gaps are quantised to it, finer ones tell the recording device, not the attack
_MEMORY = 20.0  # s; time constant of the running period
_STEP = 0.5  # octaves; a single gap pulls the period by no more than this
_YOUNG = 8  # gaps; an ID's first ones are averaged plainly
_EARLY = (0.25, 2.0, 1.0)  # octaves; a frame earlier than a + b·jitter, at most c, teaches nothing
_WAIT = 6.0  # octaves · ticks; a is less for a long period: frames wait for their turn on the bus
_HEARD = 0.25  # weight of a frame ahead of time that the next one on time repeats, or does not
_RESTING = 1.25  # bits; an ID that flips more of them a frame has no news, it always changes
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
_ONCE = 1 / 64  # of its reliability, that a rule loses by a single break
_RULE = 0.95  # reliability from which on a counter or checksum is one,
_FADED = 0.9  # and under which it is none any more when it is broken again and again
_REST = 1e-4  # a flip rate under it counts as 0, so that bytes at rest cost no time
_CLIP = 6.0  # octaves
# what is unusual for an ID: |gap_ratio|, flip surprise, share of novel bytes, leap, broken rule;
# the amounts that do not matter, and the largest that enter what is usual
_GRAIN = np.array([0.1, 0.5, 0.05, 0.5, 0.5])
_LEVEL = np.array([1.0, 3.0, 1.0, 3.0, 3.0])

# the bits of every byte value as float32, so that eight are compared at once
_BITS = ((np.arange(256)[:, None] >> np.arange(8)) & 1).astype(np.float32)


@numba.njit(cache=True, nogil=True)
def _ticks(seconds):
    return np.floor(max(seconds, 0.0) / _TICK + _HALF_MICROSECOND)


@numba.njit(cache=True, nogil=True)
def _bits(reliability, judged):
    """Surprise in bits when a rule is broken that was judged so often; under 0 if there is none."""
    return -np.log2(1.0 - reliability + max(1.0 / (judged + 1), 1.0 / _RULE_MEMORY))


@numba.njit(cache=True, nogil=True)
def _counters(p, j, value, before, passed, missing, weight, again):
    """Judge the two-bit counters of byte j, which was `before`, and `passed` in an early frame
    since, while frames may be `missing`; learn with `weight`, or `again` if one is broken twice.
    Returns how reliable the best one broken and not excused (3) was, if one is kept, if any is."""
    lost, held, ruled = np.float32(0.0), False, False
    for c in range(4):  # without branches, which would be guessed wrong half of the time
        now, ago, aside = value >> (2 * c), before >> (2 * c), passed >> (2 * c)
        turn = np.uint8((now - ago) & 3)
        old, kept, lapsed = p.turn[j, c], p.kept[j, c], p.lapsed[j, c]
        # AUTOSAR's E2E profile 1 counts to 14: 0xF is no count
        around = (now & 15 < ago & 15) & (now & 15 == ((ago & 15) + missing) % 15)
        around |= (now & 15 < aside & 15) & (now & 15 == ((aside & 15) + 1) % 15)
        hit = (turn == old) | (turn == (old * missing & 3)) | ((now - aside) & 3 == old)
        hit |= around & (ago & 15 != 15) & (old == 1) & (c % 2 == 0)
        broken = ~hit & (old != 0)  # bits that rest are no counter
        rule = (kept > _RULE) | ((lapsed >= 2) & (kept > _FADED))
        lost = max(lost, kept * np.float32(broken & rule & (lapsed != 3)))
        held |= hit & rule & (old != 0)
        ruled |= rule & (old != 0)
        kept = _judged(kept, rule, hit, broken, (lapsed > 0) & (lapsed != 3), weight, again)
        p.kept[j, c] = kept
        p.turn[j, c] = turn if (kept < 0.5) & (weight > 0) else old
        after = np.uint8(broken) * np.uint8(3 if rule & (lapsed == 3) else 2 if rule else 1)
        p.lapsed[j, c] = after if weight > 0 else lapsed
    return lost, held, ruled


@numba.njit(cache=True, nogil=True)
def _judged(kept, rule, hit, broken, lapsed, weight, again):
    """How reliable a rule is after another frame. Of a rule that held, a first break says nothing
    yet: broken again, it fades with `again`; kept again, it is one that is broken at times."""
    if rule & (weight > 0) & (lapsed | broken):
        return kept - kept * (np.float32(_ONCE) if hit else again if lapsed else np.float32(0.0))
    return kept + weight * (np.float32(hit) - kept)


@numba.njit(cache=True, nogil=True)
def _cancels(k, delta):
    """Whether the differences of the bytes that moved leave checksum k as it was in pairs."""
    for a in delta:
        same, opposite = 0, 0
        for b in delta:
            same += b == a
            opposite += b == np.uint8(-a)
        if same % 2 if k == 0 else same != opposite:
            return False
    return True


@numba.njit(cache=True, nogil=True)
def _checksums(p, data, i, dlc, delta, learns, again):
    """Judge the checksums of a payload of which `delta[k]` are the differences in the bytes that
    moved, as checksum k sees them; learn, with `again` where one is broken twice in a row. Returns
    the surprise in bits at the best of those that are broken, 0 if a proven one is kept. One is
    proven by bytes that do not cancel out in pairs, as a counter that is there twice does. While
    one that is proven is kept by such bytes, another that is broken was none."""
    crossed, total = 0, 0
    for j in range(dlc):
        crossed, total = crossed ^ data[i, j], total + data[i, j]
    last = 2 * data[i, dlc - 1] - total
    upper = data[i, dlc - 2] if dlc > 2 else 0  # of a sum of 16 bits
    values = crossed & 255, total & 255, last & 255, (last + upper) & 255, (total - upper) & 255
    known, authentic, broken = p.sums_seen >= _YOUNG, False, 0.0
    for k in range(5):
        if known and p.sums_proven[k] and p.sums_kept[k] > _RULE and values[k] == p.sums[k]:
            authentic |= not _cancels(k, delta[k])
    weight = np.float32(max(1.0 / (p.sums_seen + 1), 1.0 / _RULE_MEMORY))
    for k in range(5):
        hit, kept, lapsed = values[k] == p.sums[k], p.sums_kept[k], p.sums_lapsed[k]
        rule = kept > _RULE or (lapsed == 2 and kept > _FADED)
        if rule and not hit and p.sums_proven[k] and known and not authentic:
            broken = max(broken, _bits(kept, p.sums_seen))
        if learns:
            p.sums_kept[k] = _judged(kept, rule, hit, not hit, lapsed > 0, weight, again)
            p.sums_lapsed[k] = 0 if hit else 2 if rule else 1
            if hit and not lapsed and not p.sums_proven[k]:
                p.sums_proven[k] = not _cancels(k, delta[k])
            elif not hit and (authentic or p.sums_kept[k] < 0.5):
                p.sums[k], p.sums_proven[k] = values[k], 0  # it accuses no frame behind it
                p.sums_kept[k] = min(p.sums_kept[k], np.float32(0.5))
    p.sums_seen += learns
    if authentic and learns:
        p.kept[dlc - 1] = 0.0  # what counts in a checksum is no counter
    return 0.0 if authentic else broken


@numba.njit(cache=True, nogil=True)
def _await(p, payload, dlc, ratio, learns, clock):
    """A car that has news says it early and goes on saying it; next to a forged frame the genuine
    one says something else. So who keeps his word may be early again: `eager` is how early, in
    octaves. What never rests is repeated by chance; behind a forged frame in its turn comes what
    was said before; what is early with foreign values does not count against the ID."""
    same, news = dlc == p.ahead_dlc and not clock and p.rate[:dlc].sum() < _RESTING, False
    own = True  # its values
    for j in range(dlc):
        same &= payload[j] == p.ahead_data[j]
        news |= payload[j] != p.clock_data[j]
        own &= p.values[j, payload[j] >> 3] >> (payload[j] & 7) & 1 > 0
    if p.ahead > 0 and (learns or not same):
        if same:
            p.eager += np.float32(_HEARD * max(p.ahead - p.eager, 0.0))
        elif p.ahead_own:
            p.eager *= np.float32(_HEARD)
        p.ahead = 0.0
    if not learns:
        p.ahead, p.ahead_dlc = max(p.ahead, -ratio) if news else 0.0, dlc
        p.ahead_data[:dlc], p.ahead_own = payload, own


@numba.njit(cache=True, nogil=True)
def learn_and_judge(timestamp, bytes_used, data, slots, began, table, out, share, shares):
    # one lane for each bit of a byte: sums of f, q, u, (f-q)²/(u+.02), u/(u+.02)
    flips, expected, spread = np.empty(8), np.empty(8), np.empty(8)
    chi, usual = np.empty(8, np.float32), np.empty(8, np.float32)
    raw, delta = np.empty(5), np.empty((5, data.shape[1]), np.uint8)
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
        ratio = min(max(tick - p.log_period, -_CLIP), _CLIP) if n >= 2 else 0.0  # no period yet
        slack = min(_EARLY[0], _WAIT / 2.0**p.log_period)
        early = -min(slack + _EARLY[1] * p.jitter, _EARLY[2])
        clock, late, intruder = False, False, 0.0
        if ratio <= early and n > _YOUNG:
            over = _ticks(timestamp[i] - p.clock_time)
            away = np.log2(over + 1.0) - p.log_period
            # behind a frame that was late, the next one on the clock is early
            late = p.base_ratio > _GRAIN[0] and away - 1.0 > -min(_GRAIN[0], slack)
            # of two frames the one that keeps the clock of those before them is genuine
            if p.base_ratio < -min(_GRAIN[0], slack) and 2 * abs(away) < -p.base_ratio:
                ratio, gap, clock, intruder = away, over * _TICK, True, -ratio
        learns = ratio > early or n <= _YOUNG or late
        if n > _YOUNG and (p.ahead > 0 or not learns):
            _await(p, data[i, :dlc], dlc, ratio, learns, clock)
        if n == 0:
            p.first_time = timestamp[i]
            p.trust = 1.0 if timestamp[i] - began <= _WARM_UP else 0.0
        elif n == 1 and p.first_time - began > max(_START, _LATE * gap):
            p.trust = 0.0
        novel, stuck, leap, broken, summed, moved = 0, 1.0, 1.0, 0.0, 0.0, 0
        counted, news, overtaken = False, False, learns and p.last_time > p.base_time
        missing = 1
        if ratio > _REGULAR:
            missing = int(np.rint(gap / (max(2.0**p.log_period - 1.0, 1.0) * _TICK)))
        flips[:], expected[:], spread[:], chi[:], usual[:] = 0, 0, 0, 0, 0
        step = np.float32(learns * max(1.0 / (n + 1), min(gap / _MEMORY, 1.0 / _FLIP_MEMORY)))
        counting = np.float32(learns * max(1.0 / max(n, 1), 1.0 / _RULE_MEMORY))
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
                passed = p.ahead_data[j] if overtaken and j < p.ahead_dlc else before
                told = _counters(p, j, value, before, passed, missing, counting, again)
                broken, counted = max(broken, told[0]), counted or told[1]
                news |= changed > 0 and not told[2]  # in a byte that holds no counter
                resting, size = p.rest[j], np.float32(0.0)
                if changed:
                    delta[0, moved], delta[1:, moved] = changed, np.uint8(value - before)
                    if j == dlc - 1:
                        delta[2:4, moved] = np.uint8(before - value)
                    elif j == dlc - 2 > 0:
                        delta[3:, moved] = 0
                    moved += 1
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
        if dlc and (moved or n == 0):
            summed = _checksums(p, data, i, dlc, delta[:, :moved], learns, again)
        if broken > 0 and counted and news:  # what counts only while the rest rests is a checksum
            broken = 0.0
            for k in range(4 * dlc if learns else 0):  # excused until it is kept again
                p.lapsed[k // 4, k % 4] += p.lapsed[k // 4, k % 4] == 2
        flipped, likely = flips.sum(), expected.sum()
        excess = min(max((flipped - likely) / np.sqrt(1.0 + spread.sum()), -8.0), 8.0)
        if learns:
            p.trend += (np.float32(excess) - p.trend) / np.float32(_TREND)
        surprise = np.log2((1.0 + np.float64(chi.sum())) / (1.0 + np.float64(usual.sum())))
        told = ratio if learns else min(ratio + p.eager, 0.0)
        raw[0], raw[1], raw[2] = abs(told), max(surprise, 0.0), novel / dlc if dlc else 0.0
        raw[3], raw[4] = np.log2(leap), max(_bits(broken, n), summed)
        weight = min(1.0, 2.0**p.log_period * _TICK / _MEMORY)
        if not learns:  # many early frames count no more than the time they take
            weight = min(weight, since / _MEMORY)
        weight = max(weight, 1.0 / max(n, 1) if n <= _YOUNG else 0.0)
        for k in range(5):
            grain = _GRAIN[k] * (1.0 + _YOUNG / max(n, 1))
            unusual = np.log2((grain + raw[k]) / (grain + p.usual[k]))
            if n and (learns or k == 0):
                p.usual[k] += np.float32(weight * (min(raw[k], _LEVEL[k]) - p.usual[k]))
            raw[k] = max(unusual, 0.0)
        out[i, 0], out[i, 1], out[i, 2], out[i, 3] = told, raw[0], p.jitter, intruder
        out[i, 4], out[i, 5], out[i, 6], out[i, 7] = 1.0 - p.trust, excess, raw[1], p.trend
        out[i, 8], out[i, 9], out[i, 10] = min(np.log2(stuck), _CLIP), raw[2], raw[3]
        out[i, 11], out[i, 12] = 1.0 if n and dlc != p.dlc else 0.0, raw[4]
        out[i, 13] = p.trust / 2.0**p.log_period if n >= 2 else 0.0
        if n:
            weight = max(min(1.0, since / _MEMORY), 1.0 / n if n <= _YOUNG else 0.0)
            if n == 1:
                p.log_period = tick
            else:
                p.log_period += weight * min(max(ratio, -_STEP), _STEP)
                # what comes early must not make room for more of it
                p.jitter += weight * (min(abs(ratio), 1.0 if learns else -early) - p.jitter)
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
