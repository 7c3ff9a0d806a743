/* See the header for what this is. Sections and names are those of cangraph/features/kernel.py,
 * cangraph/features/windows.py and cangraph/evaluation/alarms.py, which say why each line is there.
 * Numbers come from there, and from the detector's file.
 */
#include "@header@"

#include <math.h>
#include <stddef.h>
#include <string.h>

#ifdef __clang__
#pragma STDC FP_CONTRACT OFF
#endif

#define NONE 0xFFFFu

struct pooled {
    uint8_t of, to, how;
};
struct layer {
    int n;
    const float *left, *left_bias, *right, *right_bias, *edge, *att, *residual, *bias;
    const float *norm, *norm_bias;
};

/*@constants@*/

typedef char ids_fit_into_16_bits[CANGRAPH_IDS >= 1 && CANGRAPH_IDS < NONE ? 1 : -1];
typedef char bytes_fit_into_16_bits[CANGRAPH_BYTES >= 1 && CANGRAPH_BYTES < NONE ? 1 : -1];
typedef char known_ids_fit[KNOWN_IDS <= CANGRAPH_IDS && KNOWN_BYTES <= CANGRAPH_BYTES ? 1 : -1];
typedef char known_payloads_fit[KNOWN_WIDTH <= CANGRAPH_WIDTH ? 1 : -1];
typedef char frames_of_a_window_fit_into_16_bits[CANGRAPH_WINDOW < NONE ? 1 : -1];
typedef char a_payload_has_8_to_64[CANGRAPH_WIDTH >= 8 && CANGRAPH_WIDTH <= 64 ? 1 : -1];

static double lower(double a, double b) { return b < a ? b : a; }
static double higher(double a, double b) { return b > a ? b : a; }
static float higherf(float a, float b) { return b > a ? b : a; }
static double within(double value, double clip) { return lower(higher(value, -clip), clip); }

static void count(uint32_t *counter) { *counter += *counter < UINT32_MAX; }

/* Pause: nobody keeps time while the recorder does not listen. */

static void hear(struct cangraph *bus, double now) {
    double gap = now - bus->time;
    bool pause = bus->frames > SCALE_YOUNG && gap > PAUSE_LEAST && gap * bus->rate > PAUSE_GAPS;
    if (bus->frames == 0 || gap < 0 || pause) {
        bus->since = now;
    } else {
        bus->heard += gap;
        bus->rate += (1.0 - bus->rate * gap) / lower(higher(bus->heard, SCALE_TICK), PAUSE_MEMORY);
    }
    bus->frames += bus->frames <= SCALE_YOUNG;
    bus->time = now;
}

/* Clock: when a frame comes. */

struct timing {
    double since, gap, tick, ratio, intruder, early, period, habit;
    bool learns, replaces, resumed;
};

static double ticks(double s) { return floor(higher(s, 0.0) / SCALE_TICK + SCALE_ROUNDING); }

static struct timing judge_clock(const struct cangraph_slot *p, double now, bool resumed) {
    struct timing t = {0};
    bool late = false;
    double slack;
    t.since = ticks(now - p->last_time);
    t.gap = ticks(now - p->base_time);
    t.tick = log2(t.gap + 1.0);
    t.period = exp2(p->log_period);
    t.since *= SCALE_TICK;
    t.gap *= SCALE_TICK;
    t.resumed = resumed;
    if (p->seen >= 2 && !resumed) t.ratio = within(t.tick - p->log_period, SCALE_CLIP);
    slack = lower(CLOCK_SLACK, CLOCK_WAIT / t.period);
    t.early = -lower(slack + CLOCK_PER_JITTER * p->jitter, CLOCK_MOST);
    t.habit = lower(p->shortest - p->log_period, 0.0);
    t.early = lower(t.early, t.habit - slack);
    if (t.ratio <= t.early && p->seen > SCALE_YOUNG) {
        double steady = lower(CLOCK_STEADY, slack), over = ticks(now - p->clock_time);
        double away = log2(over + 1.0) - p->log_period;
        late = p->base_ratio > CLOCK_STEADY && away - 1.0 > -steady;
        if (p->base_ratio < -steady && 2 * fabs(away) < -p->base_ratio) {
            t.intruder = -t.ratio;
            t.ratio = away;
            t.gap = over * SCALE_TICK;
            t.replaces = true;
        }
    }
    t.learns = t.ratio > t.early || p->seen <= SCALE_YOUNG || late;
    return t;
}

static void learn_rate(struct cangraph_slot *p, const struct timing *t) {
    double tick = log2(t->since / SCALE_TICK + 1.0), most = CLOCK_DRIFT * t->since;
    if (p->seen == 1) p->shortest = tick;
    else if (p->heard <= CLOCK_SETTLE)
        p->shortest += 1.0 / (tick < p->shortest ? CLOCK_DOWN : CLOCK_UP) * (tick - p->shortest);
    else if (tick < p->shortest) p->shortest -= lower(p->shortest - tick, most);
    else p->shortest += lower(higher(p->log_period - p->shortest, -most), most);
    if (t->learns) {
        double memory = lower(higher(p->heard, SCALE_TICK), SCALE_MEMORY);
        double gap = higher(t->gap, SCALE_TICK);
        double weight = p->seen > 1 ? 1.0 - exp(-gap / memory) : 1.0;
        p->rate += weight * (SCALE_TICK / gap - p->rate);
    }
    p->heard += t->since;
}

/* The weight of one of the first frames, which are averaged plainly. */
static double plain(uint32_t n) { return n > SCALE_YOUNG ? 0.0 : 1.0 / (n > 1 ? n : 1); }

static void learn_clock(struct cangraph_slot *p, double now, const struct timing *t) {
    double weight = higher(lower(1.0, t->since / SCALE_MEMORY), plain(p->seen));
    if (t->resumed) {
        p->base_time = p->clock_time = p->last_time = now;
        p->base_ratio = 0.0;
        return;
    }
    if (p->seen) learn_rate(p, t);
    if (p->seen == 1) {
        p->log_period = t->tick;
    } else if (p->seen > 1) {
        double most = t->learns ? 1.0 : -t->early;
        p->log_period += weight * within(t->ratio, CLOCK_PULL);
        p->jitter += weight * (lower(fabs(t->ratio), most) - p->jitter);
    }
    if (t->learns) {
        if (!t->replaces) p->clock_time = p->base_time;
        p->base_time = now;
        p->base_ratio = t->ratio;
    }
    p->last_time = now;
}

/* Trust: who was there from the beginning is normal. */

static double judge_trust(struct cangraph_slot *p, double now, double began, double gap,
                          bool foreign) {
    if (p->seen == 0) {
        p->first_time = now;
        p->trust = now - began <= TRUST_WARM_UP && !foreign ? 1.0 : 0.0;
    } else if (p->seen == 1 && p->first_time - began > TRUST_LATE * gap) {
        p->trust = 0.0;
    }
    return p->trust;
}

static void learn_trust(struct cangraph_slot *p, const struct timing *t) {
    if (p->seen < 2) return;
    if (fabs(t->ratio) < TRUST_REGULAR)
        p->trust += (1.0 - p->trust) * lower(1.0, t->since / TRUST_PROBATION);
    else if (p->trust < 1.0) p->trust -= p->trust * TRUST_LOSS;
}

/* Flips: which bits of the payload change. */

struct work {
    double flips[8], expected[8], spread[8];
    float chi[8], usual[8];
    uint8_t delta[6][CANGRAPH_WIDTH];
};

static void read_flips(struct cangraph_byte *r, int changed, float step, struct work *work) {
    const float one = 1.0f, floor_ = (float)FLIPS_FLOOR, rest = (float)FLIPS_REST;
    r->moves = 0;
    for (int b = 0; b < 8; b++) {
        float f = (float)(changed >> b & 1), q = r->rate[b];
        float u = q * (one - q), weight = one / (u + floor_);
        work->flips[b] += f;
        work->expected[b] += q;
        work->spread[b] += u;
        work->chi[b] += (f - q) * (f - q) * weight;
        work->usual[b] += u * weight;
        q += step * (f - q);
        q = q > rest ? q : 0.0f;
        r->rate[b] = q;
        r->moves |= q > 0.0f;
    }
}

struct flips {
    double excess, surprise;
};

static struct flips flips_of(const struct work *work) {
    double flips = 0.0, expected = 0.0, spread = 0.0;
    float chi = 0.0f, usual = 0.0f;
    struct flips found;
    for (int b = 0; b < 8; b++) {
        flips += work->flips[b];
        expected += work->expected[b];
        spread += work->spread[b];
        chi += work->chi[b];
        usual += work->usual[b];
    }
    found.excess = within((flips - expected) / sqrt(1.0 + spread), FLIPS_CLIP);
    found.surprise = higher(log2((1.0 + chi) / (1.0 + usual)), 0.0);
    return found;
}

/* Moves: how long a byte rests, how far it steps, which values it takes. */

struct pace {
    bool learns, replaces, overtaken;
    int64_t missing;
    float step, counting, again, fade, worn;
};

static void learn_moves(struct cangraph_byte *r, float resting, float size,
                        const struct pace *pace) {
    if (size > 0) {
        double rests = lower(resting, 2.0 * r->longest + 1.0);
        r->longest = (float)higher(r->longest * pace->fade, rests);
        r->step = (float)higher(r->step * pace->fade, lower(size, 2.0 * r->step + 1.0));
        r->changes += r->changes < 255;
        r->rest = 0.0f;
    } else {
        r->rest = resting;
        if (resting > r->longest) r->longest = pace->worn * (1.0f + r->longest) - 1.0f;
    }
}

/* Rules: what counters and checksums have in common. */

enum lapse { /*@lapses@*/ };

static bool is_rule(float kept, uint8_t lapsed) {
    return kept > RULES_RULE || (lapsed >= BROKEN && kept > RULES_FADED);
}

static double surprise_of(double kept, double judged) {
    return -log2(1.0 - kept + higher(1.0 / (judged + 1), 1.0 / RULES_MEMORY));
}

/* How a rule that was kept by a frame (`hit`), or not, is known behind it. */
struct outcome {
    bool rule, hit, broken, lapsed;
};

static float kept_after(float kept, struct outcome now, float weight, float again) {
    if (now.rule && weight > 0 && (now.lapsed || now.broken))
        return kept - kept * (now.hit ? (float)RULES_ONCE : now.lapsed ? again : 0.0f);
    return kept + weight * ((float)now.hit - kept);
}

/* Counters: two bits of a byte that turn by the same step at each frame. */

struct change {
    uint8_t value, before, passed;
};

struct counted {
    float lost;
    bool held, ruled;
};

static bool keeps_step(int c, struct change byte, int old, int64_t missing) {
    int now = byte.value >> 2 * c, ago = byte.before >> 2 * c, aside = byte.passed >> 2 * c;
    int turn = (now - ago) & 3;
    bool around = (now & 15) < (ago & 15) && (now & 15) == ((ago & 15) + missing) % 15;
    around |= (now & 15) < (aside & 15) && (now & 15) == ((aside & 15) + 1) % 15;
    return turn == old || turn == (int)(old * missing & 3) || ((now - aside) & 3) == old ||
           (around && (ago & 15) != 15 && old == 1 && c % 2 == 0);
}

static struct counted read_counters(struct cangraph_byte *r, struct change byte,
                                    const struct pace *pace) {
    struct counted found = {0};
    float weight = pace->counting;
    for (int c = 0; c < 4; c++) {
        uint8_t old = r->turn[c], lapsed = r->lapsed[c];
        float kept = r->kept[c];
        bool rule = is_rule(kept, lapsed), right = keeps_step(c, byte, old, pace->missing);
        struct outcome now = {rule, right, !right && old, lapsed > KEPT && lapsed != EXCUSED};
        rule &= old != 0;
        found.lost = higherf(found.lost, !right && rule && lapsed != EXCUSED ? kept : 0.0f);
        found.held |= right && rule;
        found.ruled |= rule;
        kept = kept_after(kept, now, weight, pace->again);
        r->kept[c] = kept;
        if (weight > 0) {
            if (kept < RULES_ANEW)
                r->turn[c] = ((byte.value >> 2 * c) - (byte.before >> 2 * c)) & 3;
            if (!now.broken || !now.rule) r->lapsed[c] = now.broken ? MISSED : KEPT;
            else if (lapsed != EXCUSED) r->lapsed[c] = BROKEN;
        }
    }
    return found;
}

/* Checksums: XOR or sum of all bytes, the last minus the others; sums without the byte before the
 * last; CRC-8 in the last byte or in the first. */

static void note_delta(struct work *work, int moved, int j, int bytes, struct change byte) {
    uint8_t step = (uint8_t)(byte.value - byte.before);
    work->delta[0][moved] = byte.value ^ byte.before;
    for (int k = 1; k < 5; k++) work->delta[k][moved] = step;
    work->delta[5][moved] = (uint8_t)((2 * j + 1) * work->delta[0][moved]);
    if (j == bytes - 1) work->delta[2][moved] = work->delta[3][moved] = (uint8_t)-step;
    else if (j == bytes - 2 && j > 0) work->delta[3][moved] = work->delta[4][moved] = 0;
}

static bool cancels(int k, const struct work *work, int moved) {
    if (k >= 5) return false;
    const uint8_t *delta = work->delta[k];
    for (int a = 0; a < moved; a++) {
        int same = 0, opposite = 0;
        for (int b = 0; b < moved; b++) {
            same += delta[b] == delta[a];
            opposite += delta[b] == (uint8_t)-delta[a];
        }
        if (k == 0 ? same % 2 : same != opposite) return false;
    }
    return true;
}

static void checksum_values(const uint8_t *data, int bytes, uint8_t *values) {
    uint8_t front = 0, back = 0;
    unsigned crossed = 0, total = 0, last, upper = bytes > 2 ? data[bytes - 2] : 0;
    for (int j = 0; j < bytes; j++) {
        crossed ^= data[j];
        total += data[j];
        if (j < bytes - 1) front = CRC_8[front ^ data[j]];
        if (j > 0) back = CRC_8[back ^ data[j]];
    }
    last = 2u * data[bytes - 1] - total;
    values[0] = (uint8_t)crossed;
    values[1] = (uint8_t)total;
    values[2] = (uint8_t)last;
    values[3] = (uint8_t)(last + upper);
    values[4] = (uint8_t)(total - upper);
    values[5] = front ^ data[bytes - 1];
    values[6] = back ^ data[0];
}

static void learn_checksums(struct cangraph_slot *p, const uint8_t *values, const struct work *work,
                            int moved, bool authentic, float again) {
    float weight = (float)higher(1.0 / (p->sum_seen + 1), 1.0 / RULES_MEMORY);
    uint8_t change = 0;
    for (int a = 0; a < moved; a++) change = (uint8_t)(change + work->delta[5][a]);
    for (int k = 0; k < CANGRAPH_SUMS; k++) {
        bool hit = values[k] == p->sum_value[k];
        uint8_t lapsed = p->sum_lapsed[k];
        struct outcome now = {is_rule(p->sum_kept[k], lapsed), hit, !hit, lapsed > KEPT};
        p->sum_kept[k] = kept_after(p->sum_kept[k], now, weight, again);
        p->sum_lapsed[k] = hit ? KEPT : now.rule ? BROKEN : MISSED;
        if (hit && lapsed == KEPT && p->sum_proven[k] < RULES_PROOFS) {
            if (change != p->sum_proof[k] && !cancels(k, work, moved)) {
                p->sum_proven[k]++;
                p->sum_proof[k] = change;
            }
        } else if (!hit && (authentic || p->sum_kept[k] < RULES_ANEW)) {
            p->sum_value[k] = values[k];
            p->sum_proven[k] = p->sum_proof[k] = 0;
            p->sum_kept[k] = (float)lower(p->sum_kept[k], RULES_ANEW);
        }
    }
    p->sum_seen += p->sum_seen < UINT16_MAX;
}

/* Usual: what is unusual is measured by what is usual for the ID. */

struct raw {
    double gap, flip, novel, leap, rule;
};

static float beyond(float usual, double raw, double grain, uint32_t n) {
    grain *= 1.0 + (double)SCALE_YOUNG / (n > 1 ? n : 1);
    return (float)higher(log2((grain + raw) / (grain + usual)), 0.0);
}

static float toward(float usual, double raw, double level, double weight) {
    return usual + (float)(weight * (lower(raw, level) - usual));
}

static void learn_usual(struct cangraph_slot *p, const struct raw *raw, const struct timing *t) {
    double weight = lower(1.0, t->period * SCALE_TICK / SCALE_MEMORY);
    if (!t->learns) weight = lower(weight, t->since / SCALE_MEMORY);
    weight = higher(weight, plain(p->seen));
    p->gap = toward(p->gap, raw->gap, LEVEL_GAP, weight);
    if (t->learns) {
        p->flip = toward(p->flip, raw->flip, LEVEL_FLIP, weight);
        p->novel = toward(p->novel, raw->novel, LEVEL_NOVEL, weight);
        p->leap = toward(p->leap, raw->leap, LEVEL_LEAP, weight);
        p->rule = toward(p->rule, raw->rule, LEVEL_RULE, weight);
    }
}

/* Places: those of IDs, and of bytes that changed. */

static void release(struct cangraph *bus, struct cangraph_slot *p) {
    for (int j = 0; j < CANGRAPH_WIDTH; j++) {
        if (!p->byte[j]) continue;
        bus->byte[p->byte[j]].next = bus->free;
        bus->free = p->byte[j];
        p->byte[j] = 0;
        p->watched--;
        bus->counts.bytes--;
    }
}

/* The slot of the ID that is missed least; of those with records of bytes if `watched`. */
static unsigned weakest(const struct cangraph *bus, double now, bool watched) {
    unsigned found = NONE;
    for (unsigned s = bus->known; s < bus->counts.ids; s++) {
        const struct cangraph_slot *p = &bus->slot[s];
        bool strange = p->seen <= SCALE_YOUNG || now - p->last_time > SILENCE_GONE;
        strange &= p->node == NONE && (p->watched || !watched);
        if (strange && (found == NONE || p->seen < bus->slot[found].seen)) found = s;
    }
    return found;
}

static unsigned slot_of(struct cangraph *bus, uint32_t key, double now) {
    unsigned s = 0;
    while (s < bus->counts.ids && bus->key[s] != key) s++;
    if (s < bus->counts.ids) return s;
    if (s == CANGRAPH_IDS) {
        s = weakest(bus, now, false);
        if (s == NONE) return NONE;
        release(bus, &bus->slot[s]);
        count(&bus->counts.forgotten);
    } else {
        bus->counts.ids++;
    }
    bus->key[s] = key;
    memset(&bus->slot[s], 0, sizeof bus->slot[s]);
    bus->slot[s].node = NONE;
    return s;
}

/* The record of byte j, which changes; a new one knows its first value. NULL without room. */
static struct cangraph_byte *watch(struct cangraph *bus, struct cangraph_slot *p, int j) {
    struct cangraph_byte *r;
    unsigned other;
    if (p->byte[j]) return &bus->byte[p->byte[j]];
    if (!bus->free) {
        other = weakest(bus, bus->time, true);
        if (other != NONE && &bus->slot[other] != p) release(bus, &bus->slot[other]);
    }
    if (!bus->free) {
        count(&bus->counts.unwatched);
        return NULL;
    }
    p->byte[j] = bus->free;
    r = &bus->byte[bus->free];
    bus->free = r->next;
    bus->counts.bytes++;
    p->watched++;
    memset(r, 0, sizeof *r);
    if (j < p->first_dlc) r->values[p->data[j] >> 3] = (uint8_t)(1u << (p->data[j] & 7));
    return r;
}

/* The frame: all parts together. */

struct read {
    double novel, stuck, leap, broken;
    int moved;
};

static struct pace pace_of(const struct cangraph_slot *p, const struct timing *t) {
    struct pace pace = {t->learns, t->replaces, false, 1, 0, 0, 0, 0, 0};
    double n = p->seen, flip = lower(t->gap / SCALE_MEMORY, 1.0 / FLIPS_MEMORY);
    pace.overtaken = t->learns && p->last_time > p->base_time;
    if (t->ratio > TRUST_REGULAR) {
        double missing = rint(t->gap / (higher(t->period - 1.0, 1.0) * SCALE_TICK));
        pace.missing = (int64_t)lower(missing, INT32_MAX);
    }
    pace.step = (float)(t->learns * higher(1.0 / (n + 1), flip));
    pace.counting = (float)(t->learns * higher(1.0 / higher(n, 1.0), 1.0 / RULES_MEMORY));
    pace.again = (float)lower(t->gap / RULES_FADING, pace.counting);
    pace.fade = (float)higher(1.0 - t->gap / MOVES_MEMORY, 0.0);
    pace.worn = (float)exp2(lower(t->gap / MOVES_WORN, 1.0));
    return pace;
}

/* Judge a byte that changed now or before, and learn from it. */
static struct counted read_byte(struct cangraph_byte *r, struct change byte,
                                const struct pace *pace, struct work *work, struct read *read) {
    bool changed = byte.value != byte.before;
    float resting = r->rest, size = 0.0f, stuck = 1.0f, leap = 1.0f;
    struct counted counted;
    read_flips(r, byte.value ^ byte.before, pace->step, work);
    counted = read_counters(r, byte, pace);
    if (changed) {
        size = (float)((byte.value - byte.before) & 255);
        size = size < 256.0f - size ? size : 256.0f - size;
    } else {
        resting += 1.0f;
    }
    if (r->changes >= MOVES_KNOWN) {
        stuck = (1.0f + resting) / (1.0f + r->longest);
        leap = (1.0f + size) / (1.0f + r->step);
    }
    read->stuck = higher(read->stuck, stuck);
    read->leap = higher(read->leap, leap);
    if (pace->learns) learn_moves(r, resting, size, pace);
    if (changed) {
        uint8_t bit = (uint8_t)(1u << (byte.value & 7)), *values = &r->values[byte.value >> 3];
        read->novel += !(*values & bit);
        if (pace->learns) *values |= bit;
    }
    return counted;
}

static void excuse_counters(struct cangraph *bus, const struct cangraph_slot *p, int bytes) {
    for (int j = 0; j < bytes; j++)
        for (int c = 0; c < 4; c++)
            if (p->byte[j])
                bus->byte[p->byte[j]].lapsed[c] += bus->byte[p->byte[j]].lapsed[c] == BROKEN;
}

static struct read read_payload(struct cangraph *bus, struct cangraph_slot *p, const uint8_t *data,
                                int bytes, const struct pace *pace, struct work *work) {
    struct read read = {0.0, 1.0, 1.0, 0.0, 0};
    bool counted = false, news = false;
    for (int j = 0; j < bytes; j++) {
        struct change byte = {data[j], pace->replaces ? p->before[j] : p->data[j], 0};
        bool changed = byte.value != byte.before;
        struct cangraph_byte *r = NULL;
        byte.passed = pace->overtaken && j < p->early_dlc ? p->early[j] : byte.before;
        if (p->seen && changed) {
            r = watch(bus, p, j);
            note_delta(work, read.moved++, j, bytes, byte);
        } else if (p->byte[j] && bus->byte[p->byte[j]].moves) {
            r = &bus->byte[p->byte[j]];
        }
        if (r) {
            struct counted found = read_byte(r, byte, pace, work, &read);
            read.broken = higher(read.broken, found.lost);
            counted |= found.held;
            news |= changed && !found.ruled;
        }
        if (p->seen == 0) /* while everything is new, nothing is odd for being new */
            read.novel += p->trust == 0;
        if (pace->learns) {
            p->before[j] = byte.before;
            p->data[j] = byte.value;
        }
    }
    if (read.broken > 0 && counted && news) {
        read.broken = 0.0;
        excuse_counters(bus, p, pace->learns ? bytes : 0);
    }
    read.novel = bytes ? read.novel / bytes : 0.0;
    return read;
}

static double read_checksums(struct cangraph *bus, struct cangraph_slot *p, const uint8_t *data,
                             int bytes, int moved, const struct pace *pace,
                             const struct work *work) {
    uint8_t values[CANGRAPH_SUMS];
    bool known = p->sum_seen >= SCALE_YOUNG, authentic = false;
    double broken = 0.0;
    checksum_values(data, bytes, values);
    for (int k = 0; k < CANGRAPH_SUMS; k++) {
        bool proven = known && p->sum_proven[k] == RULES_PROOFS && p->sum_kept[k] > RULES_RULE;
        if (proven && values[k] == p->sum_value[k])
            authentic |= !cancels(k, work, moved);
    }
    for (int k = 0; k < CANGRAPH_SUMS; k++) {
        bool rule = is_rule(p->sum_kept[k], p->sum_lapsed[k]) && values[k] != p->sum_value[k];
        if (rule && p->sum_proven[k] == RULES_PROOFS && known && !authentic)
            broken = higher(broken, surprise_of(p->sum_kept[k], p->sum_seen));
    }
    if (pace->learns) {
        learn_checksums(p, values, work, moved, authentic, pace->again);
        if (authentic && p->byte[bytes - 1])
            memset(bus->byte[p->byte[bytes - 1]].kept, 0, sizeof bus->byte[0].kept);
    }
    return authentic ? 0.0 : broken;
}

/* Judge a frame by what is known of its ID, say so in bus->said, and learn. */
static void read_frame(struct cangraph *bus, struct cangraph_slot *p, double now,
                       const uint8_t *data, int bytes) {
    float *out = bus->said;
    uint32_t n = p->seen;
    bool resumed = n > 0 && p->last_time < bus->since;
    bool foreign = bus->known > 0 && p - bus->slot >= bus->known;
    double trust, ratio, summed = 0.0;
    struct flips flips;
    struct work work = {{0}, {0}, {0}, {0}, {0}, {{0}}};
    struct timing t;
    struct pace pace;
    struct read read;
    struct raw raw = {0};
    p->base_time = lower(p->base_time, now);
    t = judge_clock(p, now, resumed);
    trust = judge_trust(p, now, bus->since, t.gap, foreign);
    pace = pace_of(p, &t);
    if (n == 0) p->first_dlc = (uint8_t)bytes;
    read = read_payload(bus, p, data, bytes, &pace, &work);
    if (bytes && (read.moved || n == 0))
        summed = read_checksums(bus, p, data, bytes, read.moved, &pace, &work);
    flips = flips_of(&work);
    ratio = t.ratio < 0 ? lower(t.ratio - t.habit, 0.0) : t.ratio;
    if (t.learns) p->trend += ((float)flips.excess - p->trend) / (float)FLIPS_TREND;
    if (resumed) { /* what it did in the pause nobody knows */
        flips.excess = 0.0;
    } else {
        raw.gap = fabs(ratio);
        raw.flip = flips.surprise;
        raw.novel = read.novel;
        raw.leap = log2(read.leap);
        raw.rule = higher(surprise_of(read.broken, n), summed);
    }
    out[F_GAP_SURPRISE] = beyond(p->gap, raw.gap, GRAIN_GAP, n);
    out[F_FLIP_SURPRISE] = beyond(p->flip, raw.flip, GRAIN_FLIP, n);
    out[F_NOVEL_BYTES] = beyond(p->novel, raw.novel, GRAIN_NOVEL, n);
    out[F_LEAP] = beyond(p->leap, raw.leap, GRAIN_LEAP, n);
    out[F_BROKEN_RULE] = beyond(p->rule, raw.rule, GRAIN_RULE, n);
    out[F_GAP_RATIO] = (float)ratio;
    out[F_JITTER] = (float)p->jitter;
    out[F_INTRUDER] = (float)t.intruder;
    out[F_DISTRUST] = (float)(1.0 - trust);
    out[F_RATE] = n >= 2 ? (float)(trust * p->rate) : 0.0f;
    out[F_FLIP_EXCESS] = (float)flips.excess;
    out[F_FLIP_TREND] = p->trend;
    out[F_STUCK] = resumed ? 0.0f : (float)lower(log2(read.stuck), SCALE_CLIP);
    out[F_DLC_CHANGE] = n && bytes != p->dlc ? 1.0f : 0.0f;
    p->told_period = p->log_period;
    if (n && !resumed) {
        learn_usual(p, &raw, &t);
        learn_trust(p, &t);
    }
    learn_clock(p, now, &t);
    if (t.learns) {
        p->dlc = (uint8_t)bytes;
    } else {
        if (bytes) memcpy(p->early, data, (size_t)bytes);
        p->early_dlc = (uint8_t)bytes;
    }
    count(&p->seen);
    p->told_jitter = out[F_JITTER];
    p->told_rate = out[F_RATE];
    p->told_distrust = out[F_DISTRUST];
}

/* Windows: the IDs of CANGRAPH_WINDOW frames, and which follows which. */

static void open_window(struct cangraph *bus, double now) {
    for (unsigned v = 0; v < bus->nodes; v++) bus->slot[bus->node[v].slot].node = NONE;
    bus->nodes = bus->edges = 0;
    bus->before = NONE;
    bus->start = now;
    bus->start_rate = bus->rate;
    bus->crowded = 0;
}

static struct cangraph_node *node_of(struct cangraph *bus, unsigned s) {
    struct cangraph_node *node = &bus->node[bus->nodes];
    memset(node, 0, sizeof *node);
    node->slot = (uint16_t)s;
    node->out = node->in = NONE;
    bus->slot[s].node = bus->nodes++;
    return node;
}

static void pool(struct cangraph_node *node, const float *said) {
    for (int c = 0; c < POOLED_FEATURES; c++) {
        float value = said[POOLED[c].of], *x = &node->x[POOLED[c].to];
        bool first = !node->count;
        if (POOLED[c].of == F_INTRUDER && first)
            value = 0.0f; /* its intruder is in a window before */
        if (POOLED[c].how == SUM) *x += value;
        else if (first || (POOLED[c].how == LEAST ? value < *x : value > *x)) *x = value;
    }
    node->rate += said[F_RATE];
    node->count++;
}

static double whole_ms(double seconds) { return floor(seconds * 1e3 + SCALE_ROUNDING); }

static void link_nodes(struct cangraph *bus, unsigned u, unsigned v, double gap) {
    unsigned e = bus->node[u].out;
    while (e != NONE && bus->edge[e].target != v) e = bus->edge[e].next_out;
    if (e == NONE) {
        struct cangraph_edge *edge = &bus->edge[e = bus->edges++];
        edge->source = (uint16_t)u;
        edge->target = (uint16_t)v;
        edge->next_out = bus->node[u].out;
        edge->next_in = bus->node[v].in;
        bus->node[u].out = bus->node[v].in = (uint16_t)e;
        memset(edge->attr, 0, sizeof edge->attr);
    }
    bus->node[u].departures++;
    bus->edge[e].attr[E_LOG_COUNT] += 1.0f;
    bus->edge[e].attr[E_LOG_GAP] = (float)(bus->edge[e].attr[E_LOG_GAP] + whole_ms(gap));
}

static double octaves_away(const struct cangraph *bus, const struct cangraph_slot *p) {
    double away = higher(bus->time - higher(p->last_time, bus->since), 0.0);
    return within(log2(whole_ms(away) + 1.0) - p->told_period, SILENCE_CLIP);
}

static double silence_of(const struct cangraph *bus, const struct cangraph_slot *p) {
    double trust = 1.0 - p->told_distrust, jitter = p->told_jitter;
    if (p->seen < SILENCE_KNOWN || trust < SILENCE_TRUST || jitter > SILENCE_STEADY)
        return 0.0;
    if (bus->time - p->last_time > SILENCE_GONE) return 0.0;
    return higher(octaves_away(bus, p) - (SILENCE_PATIENCE + SILENCE_UNSTEADY * jitter), 0.0);
}

static void seen_node(struct cangraph *bus, struct cangraph_node *node, double span) {
    double times = node->count, rate = node->rate / times;
    for (int c = 0; c < POOLED_FEATURES; c++)
        if (POOLED[c].how == SUM)
            node->x[POOLED[c].to] = (float)(node->x[POOLED[c].to] / times);
    node->x[N_SHARE] = (float)(times / CANGRAPH_WINDOW);
    node->x[N_COUNT_RATIO] = (float)log2((times + 1) / (span * rate + 1));
    node->x[N_SILENCE] = (float)silence_of(bus, &bus->slot[node->slot]);
}

static void missed_node(struct cangraph *bus, struct cangraph_node *node, double span) {
    const struct cangraph_slot *p = &bus->slot[node->slot];
    float away = (float)octaves_away(bus, p);
    node->x[N_COUNT_RATIO] = (float)log2(1.0 / (span * p->told_rate + 1.0));
    node->x[N_GAP_RATIO_MEAN] = node->x[N_GAP_RATIO_MIN] = node->x[N_GAP_RATIO_MAX] = away;
    node->x[N_JITTER_MEAN] = p->told_jitter;
    node->x[N_DISTRUST_MAX] = (float)(1.0 - (1.0 - p->told_distrust));
    node->x[N_SILENCE] = (float)silence_of(bus, p);
}

/* What a window says of the whole bus, on each of its nodes: who came, and its pace. */
static void bus_nodes(struct cangraph *bus, unsigned missed, double span) {
    unsigned arrived = 0, strays = 0, heard = bus->counts.ids;
    double rate = log2(CANGRAPH_WINDOW / (span + 1.0)), pace = log2(1e3 / bus->start_rate);
    for (unsigned s = 0; s < heard; s++) {
        double age = bus->time - bus->slot[s].first_time;
        arrived += age < COMPANY_ARRIVAL;
        strays += age < COMPANY_STRAY && bus->slot[s].seen <= COMPANY_HEARD;
    }
    pace = within(rate + pace, SILENCE_CLIP);
    for (unsigned v = 0; v < bus->nodes; v++) {
        unsigned s = bus->node[v].slot, below = 0;
        const struct cangraph_slot *p = &bus->slot[s];
        float *x = bus->node[v].x;
        double company;
        for (unsigned other = 0; other < heard; other++)
            below += (bus->key[other] & ID_BITS) < (bus->key[s] & ID_BITS);
        x[N_RANK] = (float)((double)below / heard);
        x[N_AGE] = (float)lower(log2(1.0 + higher(bus->time - p->first_time, 0.0)), COMPANY_AGED);
        company = higher(log2(1.0 + p->company), COMPANY_MOST * x[N_AGE] / COMPANY_AGED);
        x[N_COMPANY] = (float)lower(company, COMPANY_MOST);
        x[N_FOREIGN] = bus->known > 0 && s >= bus->known ? 1.0f : 0.0f;
        x[N_BUS_RATE] = (float)rate;
        x[N_BUS_PACE] = (float)pace;
        x[N_MISSED] = (float)((double)missed / heard);
        x[N_ARRIVALS] = (float)log2(1.0 + arrived);
        x[N_STRAYS] = (float)log2(1.0 + strays);
    }
}

static void close_window(struct cangraph *bus) {
    double span = (bus->time - bus->start) * 1e3;
    unsigned seen = bus->nodes;
    for (unsigned v = 0; v < seen; v++) seen_node(bus, &bus->node[v], span);
    for (unsigned s = 0; s < bus->counts.ids; s++)
        if (bus->slot[s].node == NONE && silence_of(bus, &bus->slot[s]) > 0)
            missed_node(bus, node_of(bus, s), span);
    bus_nodes(bus, bus->nodes - seen, span);
    for (unsigned e = 0; e < bus->edges; e++) {
        float *attr = bus->edge[e].attr, times = attr[E_LOG_COUNT];
        attr[E_LOG_COUNT] = (float)log2(1.0 + times);
        attr[E_SHARE] = (float)((double)times / bus->node[bus->edge[e].source].departures);
        attr[E_LOG_GAP] = (float)log2(1.0 + attr[E_LOG_GAP] / times);
    }
}

/* The net: layers of h <- ELU(LayerNorm(GATv2(h, edges) + W h)), see cangraph/nn/models.py. */

static void standardize(float *values, const float *mean, const float *std, int n) {
    for (int c = 0; c < n; c++) {
        float value = (values[c] - mean[c]) / std[c];
        values[c] = value < -NET_CLIP ? -NET_CLIP : value > NET_CLIP ? NET_CLIP : value;
    }
}

/* out += in * weight, weight[n][width] */
static void dense(float *out, int width, const float *weight, const float *in, int n) {
    for (int k = 0; k < n; k++, weight += width)
        for (int o = 0; o < width; o++) out[o] += in[k] * weight[o];
}

static void elu(float *values, int n) {
    for (int o = 0; o < n; o++)
        values[o] = values[o] > 0.0f ? values[o] : expf(values[o]) - 1.0f;
}

/* What comes along one edge: added to `out` with a weight of softmax, kept up to its sum. */
static void attend(const struct layer *layer, const float *left, const float *right,
                   const float *attr, float *out, float *top, float *sum) {
    float said[CANGRAPH_STATES];
    for (int o = 0; o < CANGRAPH_STATES; o++) said[o] = left[o] + right[o];
    dense(said, CANGRAPH_STATES, layer->edge, attr, CANGRAPH_EDGE_FEATURES);
    for (int h = 0; h < HEADS; h++) {
        float logit = 0.0f, weight, fade;
        for (int o = h * PER_HEAD; o < (h + 1) * PER_HEAD; o++)
            logit += layer->att[o] * (said[o] > 0.0f ? said[o] : NET_LEAK * said[o]);
        fade = logit > top[h] ? expf(top[h] - logit) : 1.0f;
        top[h] = higherf(top[h], logit);
        weight = expf(logit - top[h]);
        sum[h] = sum[h] * fade + weight;
        for (int o = h * PER_HEAD; o < (h + 1) * PER_HEAD; o++)
            out[o] = out[o] * fade + weight * left[o];
    }
}

static void norm(float *h, const struct layer *layer) {
    float mean = 0.0f, square = 0.0f, scale;
    for (int o = 0; o < CANGRAPH_STATES; o++) mean += h[o] / CANGRAPH_STATES;
    for (int o = 0; o < CANGRAPH_STATES; o++)
        square += (h[o] - mean) * (h[o] - mean) / CANGRAPH_STATES;
    scale = 1.0f / sqrtf(square + NET_EPSILON);
    for (int o = 0; o < CANGRAPH_STATES; o++)
        h[o] = (h[o] - mean) * scale * layer->norm[o] + layer->norm_bias[o];
}

/* The next state of a node, in place of the last one: others need but its `left`. */
static void convolve(struct cangraph *bus, struct cangraph_node *node, const struct layer *layer) {
    float right[CANGRAPH_STATES], out[CANGRAPH_STATES] = {0}, top[HEADS], sum[HEADS] = {0};
    memcpy(right, layer->right_bias, sizeof right);
    dense(right, CANGRAPH_STATES, layer->right, node->x, layer->n);
    for (int h = 0; h < HEADS; h++) top[h] = -HUGE_VALF;
    for (unsigned e = node->in; e != NONE; e = bus->edge[e].next_in)
        attend(layer, bus->node[bus->edge[e].source].left, right, bus->edge[e].attr, out, top, sum);
    for (int o = 0; o < CANGRAPH_STATES; o++)
        out[o] = layer->bias[o] + (node->in == NONE ? 0.0f : out[o] / sum[o / PER_HEAD]);
    dense(out, CANGRAPH_STATES, layer->residual, node->x, layer->n);
    norm(out, layer);
    elu(out, CANGRAPH_STATES);
    memcpy(node->x, out, sizeof out);
}

static double sigmoid(double logit) { return 1.0 / (1.0 + exp(-logit)); }

/* A head's logit, of what its first layer gave. */
static float logit_of(float *hidden, const float *weight, float bias) {
    elu(hidden, CANGRAPH_HIDDEN);
    for (int o = 0; o < CANGRAPH_HIDDEN; o++) bias += hidden[o] * weight[o];
    return bias;
}

/* Judge the window; false if there is no number for it. */
static bool judge(struct cangraph *bus, struct cangraph_seen *seen) {
    float most[CANGRAPH_STATES] = {0}, hidden[CANGRAPH_HIDDEN], kinds[KINDS];
    memcpy(hidden, WINDOW_BIAS, sizeof hidden);
    memcpy(kinds, KIND_BIAS, sizeof kinds);
    for (unsigned v = 0; v < bus->nodes; v++) {
        standardize(bus->node[v].x, NODE_MEAN, NODE_STD, NODE_FEATURES);
        memcpy(bus->node[v].head, NODE_BIAS, sizeof NODE_BIAS);
    }
    for (unsigned e = 0; e < bus->edges; e++)
        standardize(bus->edge[e].attr, EDGE_MEAN, EDGE_STD, CANGRAPH_EDGE_FEATURES);
    for (int k = 0; k < LAYERS; k++) {
        const struct layer *layer = &LAYER[k];
        for (unsigned v = 0; v < bus->nodes; v++) {
            struct cangraph_node *node = &bus->node[v];
            memcpy(node->left, layer->left_bias, sizeof node->left);
            dense(node->left, CANGRAPH_STATES, layer->left, node->x, layer->n);
        }
        for (unsigned v = 0; v < bus->nodes; v++) {
            struct cangraph_node *node = &bus->node[v];
            convolve(bus, node, layer);
            dense(node->head, CANGRAPH_HIDDEN, NODE_HEAD[k], node->x, CANGRAPH_STATES);
            for (int o = 0; o < CANGRAPH_STATES; o++)
                most[o] = v ? higherf(most[o], node->x[o]) : node->x[o];
        }
        dense(hidden, CANGRAPH_HIDDEN, WINDOW_HEAD[k], most, CANGRAPH_STATES);
        dense(kinds, KINDS, KIND_HEAD[k], most, CANGRAPH_STATES);
    }
    seen->value = sigmoid(logit_of(hidden, WINDOW_LAST, WINDOW_LAST_BIAS[0]));
    seen->blame = -1.0;
    for (unsigned v = 0; v < bus->nodes; v++) {
        double blame = sigmoid(logit_of(bus->node[v].head, NODE_LAST, NODE_LAST_BIAS[0]));
        uint32_t key = bus->key[bus->node[v].slot];
        if (isnan(blame)) return false;
        if (blame > seen->blame) {
            seen->blame = blame;
            seen->blamed = key & ID_BITS;
            seen->extended = key != seen->blamed;
        }
    }
    seen->attack = 1; /* 0 is benign */
    for (int k = 1; k < KINDS; k++)
        seen->attack = kinds[k] > kinds[seen->attack] ? (uint8_t)k : seen->attack;
    return !isnan(seen->value) && bus->nodes > 0;
}

/* The alarm: evidence of the windows together. */

static double log_odds(double value) {
    return log(higher(value, EVIDENCE_LEAST)) - log(higher(1.0 - value, EVIDENCE_LEAST));
}

static void add_evidence(struct cangraph *bus, double value, double end) {
    double odds = log_odds(value), level = log_odds(THRESHOLD), passed, weight, away;
    if (bus->watched > EVIDENCE_WARM)
        level = lower(higher(bus->usual + EVIDENCE_SPREADS * bus->spread, EVIDENCE_LOWEST), level);
    bus->evidence = lower(higher(bus->evidence + odds - level, 0.0), EVIDENCE_MOST);
    bus->level = level;
    odds = lower(odds, level);
    if (bus->watched == 0) bus->usual = odds;
    passed = lower(higher(end - bus->end, 0.0), EVIDENCE_STEP);
    bus->watched += passed;
    bus->end = end;
    weight = passed / lower(higher(bus->watched, EVIDENCE_LEAST), EVIDENCE_MEMORY);
    if (bus->evidence > 0) weight *= EVIDENCE_SUSPECT;
    away = odds - bus->usual;
    bus->usual += weight * away;
    bus->spread += weight * (fabs(away) - bus->spread);
}

static void keep_higher(struct cangraph_seen *kept, const struct cangraph_seen *seen) {
    if (seen->value > kept->value) *kept = *seen;
}

static void raise_alarm(struct cangraph *bus, const struct cangraph_seen *seen) {
    struct cangraph_verdict *said = &bus->verdict;
    said->again = bus->alarmed && seen->end - said->until <= HOLD;
    said->until = seen->end;
    if (said->again) {
        keep_higher(&said->suspect, &bus->between);
    } else {
        said->since = seen->end;
        said->delay = seen->end - bus->first_start;
        said->suspect = bus->highest;
        count(&bus->counts.alarms);
    }
    keep_higher(&said->suspect, &bus->highest);
    bus->alarmed = true;
}

static enum cangraph_event see(struct cangraph *bus, const struct cangraph_seen *seen) {
    struct cangraph_verdict *said = &bus->verdict;
    bool was = said->alarm;
    if (bus->evidence == 0) {
        bus->first_start = seen->start;
        bus->highest = *seen;
    }
    add_evidence(bus, seen->value, seen->end);
    keep_higher(&bus->highest, seen);
    said->alarm = bus->evidence >= EVIDENCE_SURE;
    said->evidence = bus->evidence;
    said->level = sigmoid(bus->level);
    if (said->alarm && was) keep_higher(&said->suspect, seen);
    else if (said->alarm) raise_alarm(bus, seen);
    else if (!was) keep_higher(&bus->between, seen);
    else {
        said->until = seen->end;
        bus->between = *seen;
    }
    return said->alarm == was ? CANGRAPH_JUDGED : was ? CANGRAPH_OVER : CANGRAPH_ALARM;
}

static enum cangraph_event end_window(struct cangraph *bus) {
    struct cangraph_verdict *said = &bus->verdict;
    close_window(bus);
    said->last.start = bus->start - bus->origin;
    said->last.end = bus->time - bus->origin;
    said->crowded = bus->crowded;
    said->judged = judge(bus, &said->last);
    count(&bus->counts.windows);
    said->windows = bus->counts.windows;
    if (said->judged) return see(bus, &said->last);
    count(&bus->counts.unjudged);
    return CANGRAPH_JUDGED;
}

/* The four functions. */

void cangraph_init(struct cangraph *bus) {
    memset(bus, 0, sizeof *bus);
    bus->spread = 1.0;
    for (unsigned r = 1; r < CANGRAPH_BYTES; r++) bus->byte[r].next = (uint16_t)(r + 1);
    bus->free = KNOWN_BYTES < CANGRAPH_BYTES ? KNOWN_BYTES + 1 : 0;
#if KNOWN_IDS
    memcpy(bus->key, KNOWN_KEY, sizeof KNOWN_KEY);
    memcpy(bus->slot, KNOWN_SLOT, sizeof KNOWN_SLOT);
    memcpy(bus->byte, KNOWN_BYTE, sizeof KNOWN_BYTE);
    bus->known = bus->counts.ids = KNOWN_IDS;
    bus->counts.bytes = KNOWN_BYTES;
    bus->frames = SCALE_YOUNG + 1;
    bus->heard = KNOWN_HEARD;
    bus->rate = KNOWN_RATE;
#endif
}

/* The first frame; what is known of the bus is so old as to leave a pause before. */
static void begin(struct cangraph *bus, double time) {
    bus->origin = bus->time = time;
#if KNOWN_IDS
    double by = time - KNOWN_PAUSE - KNOWN_ENDED;
    for (unsigned s = 0; s < KNOWN_IDS; s++) {
        bus->slot[s].last_time += by;
        bus->slot[s].base_time += by;
        bus->slot[s].clock_time += by;
        bus->slot[s].first_time += by;
    }
    bus->time = KNOWN_LAST_TIME + by;
    bus->since = KNOWN_SINCE + by;
#endif
}

/* Time that goes on: from the last frame, after a step back. */
static double time_of(struct cangraph *bus, double time) {
    double step;
    if (!bus->counts.frames) begin(bus, time);
    step = time + bus->offset - bus->time;
    if (step < -SCALE_TICK) {
        bus->offset -= step;
        count(&bus->counts.jumps);
    } else if (step < 0) {
        count(&bus->counts.reordered);
    }
    return higher(time + bus->offset, bus->time);
}

/* A new ID and those that came with it are company. */
static void meet(struct cangraph *bus, unsigned s) {
    for (unsigned other = 0; other < bus->counts.ids; other++) {
        if (other == s || bus->time - bus->slot[other].first_time >= COMPANY_ARRIVAL)
            continue;
        bus->slot[s].company += bus->slot[s].company < UINT8_MAX;
        bus->slot[other].company += bus->slot[other].company < UINT8_MAX;
    }
}

/* Judge a frame, and put it into the window. */
static enum cangraph_event take(struct cangraph *bus, double time, uint32_t key,
                                const uint8_t *data, uint8_t bytes) {
    double last = bus->time, now = time_of(bus, time);
    struct cangraph_slot *p;
    unsigned s;
    hear(bus, now);
    count(&bus->counts.frames);
    if (bus->position == 0) open_window(bus, now);
    bus->position++;
    s = slot_of(bus, key, now);
    if (s == NONE) {
        count(&bus->counts.crowded);
        bus->crowded += bus->position <= CANGRAPH_WINDOW;
        bus->before = NONE;
        return CANGRAPH_CROWDED;
    }
    p = &bus->slot[s];
    if (p->seen == 0) {
        p->first_time = now;
        meet(bus, s);
    }
    read_frame(bus, p, now, data, bytes);
    if (bus->position <= CANGRAPH_WINDOW) {
        pool(p->node == NONE ? node_of(bus, s) : &bus->node[p->node], bus->said);
        if (bus->before != NONE) link_nodes(bus, bus->before, p->node, now - last);
        bus->before = p->node;
    }
    return CANGRAPH_TAKEN;
}

enum cangraph_event cangraph_frame(struct cangraph *bus, double time, uint32_t id, bool extended,
                                   const uint8_t *data, uint8_t bytes) {
    bool right = time >= 0.0 && time <= LATEST && id <= (extended ? ID_BITS : ID_BITS_STANDARD);
    enum cangraph_event event;
    if (!right || bytes > CANGRAPH_WIDTH || (bytes && !data)) {
        count(&bus->counts.refused);
        return CANGRAPH_REFUSED;
    }
    event = take(bus, time, extended ? id | EXTENDED : id, data, bytes);
    if (bus->position == CANGRAPH_WINDOW) event = end_window(bus);
    if (bus->position == CANGRAPH_STRIDE) bus->position = 0;
    return event;
}

void cangraph_state(const struct cangraph *bus, struct cangraph_counts *counts) {
    *counts = bus->counts;
}

void cangraph_verdict(const struct cangraph *bus, struct cangraph_verdict *verdict) {
    *verdict = bus->verdict;
}
