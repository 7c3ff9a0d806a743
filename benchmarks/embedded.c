/* Drives a C file of `cangraph export --c` (-DCAR='"car.c"'), for benchmarks/embedded.py:
 *
 *     judge FEATURES WINDOWS < frames    what it says of each frame and window, as `Said` reads it
 *     time < frames                      ns a frame without and with the windows, ns a window
 *     fuzz SECONDS SEED                  any call; how many; aborts where it says what cannot be
 */
#define _POSIX_C_SOURCE 200809L
#include CAR

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct input {
    double time;
    uint32_t id;
    uint8_t extended, bytes, data[CANGRAPH_WIDTH];
};

static struct cangraph bus, ahead;

static void must(bool right) {
    if (!right) abort();
}

static void say(FILE *file, const void *what, size_t size) {
    must(fwrite(what, 1, size, file) == size);
}

static enum cangraph_event feed(const struct input *in) {
    return cangraph_frame(&bus, in->time, in->id, in->extended, in->data, in->bytes);
}

/* The window that the next frame completes, before the net turns its features into states. */
static void say_window(FILE *file, const struct input *in) {
    uint32_t sizes[2];
    ahead = bus;
    take(&ahead, in->time, in->extended ? in->id | EXTENDED : in->id, in->data, in->bytes);
    close_window(&ahead);
    sizes[0] = ahead.nodes;
    sizes[1] = ahead.edges;
    say(file, sizes, sizeof sizes);
    for (unsigned v = 0; v < ahead.nodes; v++) say(file, ahead.node[v].x, 4 * NODE_FEATURES);
    for (unsigned e = 0; e < ahead.edges; e++) say(file, &ahead.edge[e].source, 4); /* and target */
    for (unsigned e = 0; e < ahead.edges; e++) say(file, ahead.edge[e].attr, 4 * 3);
}

static void judge_frames(FILE *features, FILE *windows) {
    struct input in;
    must(features && windows);
    while (fread(&in, sizeof in, 1, stdin) == 1) {
        struct cangraph_verdict said;
        enum cangraph_event event;
        if (bus.position == CANGRAPH_WINDOW - 1) say_window(windows, &in);
        event = feed(&in);
        must(event != CANGRAPH_REFUSED);
        say(features, bus.said, sizeof bus.said);
        cangraph_verdict(&bus, &said);
        if (event >= CANGRAPH_JUDGED) {
            double numbers[] = {said.last.value, said.last.start, said.last.end, said.last.blame,
                                said.level, said.since, said.until, said.delay, said.suspect.value};
            uint32_t words[] = {event, said.last.blamed, said.last.attack, said.suspect.blamed,
                                said.suspect.attack, said.again, said.crowded};
            say(windows, numbers, sizeof numbers);
            say(windows, words, sizeof words);
        }
    }
    must(fclose(features) == 0 && fclose(windows) == 0);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return time.tv_sec * 1e9 + time.tv_nsec;
}

static void time_frames(void) {
    static struct input in[1 << 18];
    size_t n = fread(in, sizeof in[0], 1 << 18, stdin);
    double began = now(), judging = 0;
    for (size_t i = 0; i < n; i++) {
        bool last = bus.position == CANGRAPH_WINDOW - 1;
        double before = last ? now() : 0;
        feed(&in[i]);
        if (last) judging += now() - before;
    }
    began = now() - began;
    printf("%g %g %g\n", (began - judging) / n, began / n, judging / bus.counts.windows);
}

static uint64_t state;

static uint32_t random_below(uint32_t n) { /* xorshift64* */
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (uint32_t)((state * 2685821657736338717u >> 32) % n);
}

static double random_time(double time) {
    const double odd[] = {-1.0, 1e300, -1e300, HUGE_VAL, -HUGE_VAL, NAN, 1e11, 0.0, 5e-324};
    switch (random_below(2000)) {
    case 0: return odd[random_below(9)];
    case 1: return time - random_below(1000) * 1e-3;
    case 2: return time + random_below(100);
    case 3: return time - random_below(1000) * 1e-6;
    case 4: return random_below(UINT32_MAX);
    default: return time + random_below(2000) * 1e-6;
    }
}

static void check(enum cangraph_event event) {
    struct cangraph_verdict said;
    struct cangraph_counts counts;
    cangraph_verdict(&bus, &said);
    cangraph_state(&bus, &counts);
    must(event >= CANGRAPH_TAKEN && event <= CANGRAPH_OVER);
    must(counts.ids <= CANGRAPH_IDS && counts.bytes <= CANGRAPH_BYTES);
    must(said.windows == counts.windows && said.crowded <= CANGRAPH_WINDOW);
    must(said.evidence >= 0 && said.evidence <= EVIDENCE_MOST);
    if (said.judged) {
        must(said.last.value >= 0 && said.last.value <= 1);
        must(said.last.blame >= 0 && said.last.blame <= 1);
        must(said.last.blamed <= ID_BITS && said.last.attack < KINDS);
    }
    if (event == CANGRAPH_ALARM) must(said.alarm && said.suspect.value > 0);
}

/* Some IDs that count, many that come once, and calls that are no frames. */
static unsigned long fuzz(double seconds) {
    unsigned long calls = 0;
    double time = random_below(1000);
    for (double until = now() + seconds * 1e9; calls % 1024 || now() < until; calls++) {
        uint32_t few = random_below(2), id = random_below(few ? 2 * CANGRAPH_IDS : 2048);
        bool extended = random_below(4) == 0, odd = random_below(100) == 0;
        uint32_t bytes = odd ? random_below(256) : random_below(CANGRAPH_WIDTH + 1);
        uint8_t *data = malloc(bytes ? bytes : 1); /* so long, that each byte behind it is seen */
        double came = random_time(time);
        must(data != NULL);
        if (extended || odd) id |= random_below(1u << 16) << random_below(17);
        for (uint32_t j = 0; j < bytes; j++)
            data[j] = (uint8_t)(few ? calls / (j + 1) : random_below(256));
        check(cangraph_frame(&bus, came, id, extended, odd && calls % 2 ? NULL : data,
                             (uint8_t)bytes));
        if (came >= 0 && came < 1e9) time = came;
        free(data);
        if (random_below(1 << 20) == 0) cangraph_init(&bus);
    }
    return calls;
}

int main(int words, char **word) {
    cangraph_init(&bus);
    if (words == 4 && word[1][0] == 'j')
        judge_frames(fopen(word[2], "wb"), fopen(word[3], "wb"));
    else if (words == 2 && word[1][0] == 't')
        time_frames();
    else if (words == 4 && word[1][0] == 'f') {
        state = strtoull(word[3], NULL, 10) * 2 + 1;
        printf("%lu\n", fuzz(atof(word[2])));
    } else
        return 2;
    return 0;
}
