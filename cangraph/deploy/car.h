/* A detector of attacks on a CAN bus, written by `cangraph export --c` for @name@.
 *
 *     static struct cangraph bus;                    one for each bus; it holds no pointers
 *     cangraph_init(&bus);
 *     what = cangraph_frame(&bus, seconds, id, extended, data, bytes);        each frame
 *     if (what >= CANGRAPH_JUDGED) cangraph_verdict(&bus, &verdict);
 *
 * It allocates nothing and keeps nothing outside `struct cangraph`. Of libc it calls memcpy and
 * memset, of libm exp, exp2, expf, fabs, floor, log, log2, rint, sqrt and sqrtf. It does with a
 * frame what Python does, in float and double as there: compile without -ffast-math, and with
 * -ffp-contract=off.
 */
#ifndef CANGRAPH_H
#define CANGRAPH_H

#include <stdbool.h>
#include <stdint.h>

/* Sizes, which the compiler may be told otherwise (-DCANGRAPH_IDS=256), alike for all files. */
#ifndef CANGRAPH_IDS
#define CANGRAPH_IDS 128 /* IDs of a bus that are known at a time */
#endif
#ifndef CANGRAPH_WIDTH
#define CANGRAPH_WIDTH 8 /* bytes of the longest payload: 8, or 64 with CAN FD */
#endif
#ifndef CANGRAPH_BYTES
#define CANGRAPH_BYTES (CANGRAPH_IDS * 3) /* payload bytes, of all IDs, that ever changed */
#endif

/*@sizes@*/

enum cangraph_attack { /*@attacks@*/ };

/* What a frame did. */
enum cangraph_event {
    CANGRAPH_TAKEN,
    CANGRAPH_REFUSED, /* it is no frame: see cangraph_frame */
    CANGRAPH_CROWDED, /* its ID found no place among CANGRAPH_IDS others, and was not judged */
    CANGRAPH_JUDGED,  /* it completed a window: there is a new verdict */
    CANGRAPH_ALARM,   /* and that raised an alarm, */
    CANGRAPH_OVER     /* or ended it */
};

/* A window that was judged. Times are s since the first frame. */
struct cangraph_seen {
    double value; /* probability of an attack */
    double start, end;
    double blame;    /* probability that the blamed ID is attacked, or attacks */
    uint32_t blamed; /* ID */
    bool extended;
    uint8_t attack; /* what it looks like, an enum cangraph_attack */
};

/* What cangraph_verdict says. */
struct cangraph_verdict {
    uint32_t windows; /* so far */
    bool judged;      /* false: there is no number for the last window, which is not clean for it */
    uint16_t crowded; /* frames of the last window whose IDs found no place */
    struct cangraph_seen last;
    double level;    /* value from which on the last window was suspicious */
    double evidence; /* log-odds; from EVIDENCE_SURE on there is an alarm */
    bool alarm;      /* whether there is one; what follows is of it, or of the one before */
    bool again;      /* it had ended less than a second before, and was reopened */
    double since, until; /* raised; over, or the end of the window that reopened it */
    double delay;        /* s from the start of its first suspicious window until it was raised */
    struct cangraph_seen suspect; /* the window with the highest value */
};

/* What cangraph_state says: counters, which end at their highest value. */
struct cangraph_counts {
    uint32_t frames, windows, alarms;
    uint32_t unjudged;  /* windows without a number */
    uint32_t refused;   /* calls that were no frames */
    uint32_t crowded;   /* frames whose IDs found no place */
    uint32_t forgotten; /* IDs that made place for others */
    uint32_t unwatched; /* changes of bytes beyond CANGRAPH_BYTES, judged by checksums alone */
    uint32_t reordered; /* times that went back by less than a ms, and were levelled */
    uint32_t jumps;     /* times that went back by more: time went on from the last frame */
    uint16_t ids, bytes; /* known now */
};

/* From here to the functions: what the detector remembers. Not for others. */
struct cangraph_byte { /* of a payload byte that changed */
    float rate[8];     /* how often each bit flips */
    float rest, longest, step;
    float kept[4];      /* counters, one for each pair of bits */
    uint8_t values[32]; /* one bit for each value it took */
    uint8_t turn[4], lapsed[4], changes, moves;
    uint16_t next; /* that is free */
};

struct cangraph_slot { /* of an ID */
    double last_time, base_time, base_ratio, clock_time, log_period, jitter, shortest, heard, rate;
    double trust, first_time;
    double told_period; /* what its last frame said, for windows without it: log2 of ticks, */
    float told_jitter, told_rate, told_distrust;
    float trend, gap, flip, novel, leap, rule; /* usual */
    float sum_kept[CANGRAPH_SUMS];
    uint32_t seen;
    uint16_t sum_seen, node;        /* node: in this window */
    uint16_t byte[CANGRAPH_WIDTH];  /* its records, for those that changed */
    uint8_t sum_value[CANGRAPH_SUMS], sum_lapsed[CANGRAPH_SUMS];
    uint8_t sum_proven[CANGRAPH_SUMS], sum_proof[CANGRAPH_SUMS];
    uint8_t data[CANGRAPH_WIDTH], before[CANGRAPH_WIDTH], early[CANGRAPH_WIDTH];
    uint8_t dlc, early_dlc, first_dlc, watched, company;
};

struct cangraph_node { /* of an ID in this window */
    float x[CANGRAPH_ROW], left[CANGRAPH_STATES], head[CANGRAPH_HIDDEN], rate;
    uint16_t slot, count, departures, out, in; /* out, in: the first of its edges */
};

struct cangraph_edge {
    float attr[CANGRAPH_EDGE_FEATURES];
    uint16_t source, target, next_out, next_in;
};

struct cangraph {
    double origin, offset, time;                         /* s */
    double heard, rate, since;                           /* of the bus */
    double start, start_rate;                            /* of this window */
    double evidence, usual, spread, watched, end, level; /* of the alarm */
    double first_start;
    struct cangraph_seen highest, between;
    struct cangraph_counts counts;
    struct cangraph_verdict verdict;
    uint32_t position; /* frames since this window began */
    uint16_t nodes, edges, free, before, known, crowded;
    uint8_t frames;
    bool alarmed;
    float said[CANGRAPH_FRAME_FEATURES]; /* of the last frame */
    uint32_t key[CANGRAPH_IDS]; /* ID, with bit 31 set if extended */
    struct cangraph_slot slot[CANGRAPH_IDS];
    struct cangraph_byte byte[CANGRAPH_BYTES + 1]; /* the first stands for none */
    struct cangraph_node node[CANGRAPH_IDS];
    struct cangraph_edge edge[CANGRAPH_WINDOW];
};

/* Forget everything. */
void cangraph_init(struct cangraph *bus);

/* Take the next frame: its time in s by any clock that goes on (0 to @latest@), its ID, its payload
 * and how many bytes that has (not the DLC; 0 for remote frames). It is refused, and counted, if
 * the time is none, the ID has more than 11 bits, or 29 if extended, or the payload more than
 * CANGRAPH_WIDTH bytes. A new ID takes the place of the one with the fewest frames among those
 * heard at most @scale_young@ times, or not for @silence_gone@ s, and not in this window. Without
 * any it is crowded: its frames count in the window, and are not judged. */
enum cangraph_event cangraph_frame(struct cangraph *bus, double time, uint32_t id, bool extended,
                                   const uint8_t *data, uint8_t bytes);

/* What was counted, and how much room is used. */
void cangraph_state(const struct cangraph *bus, struct cangraph_counts *counts);

/* What is said of the last window, and of the alarm. */
void cangraph_verdict(const struct cangraph *bus, struct cangraph_verdict *verdict);

#endif
