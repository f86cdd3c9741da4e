/* Sends one buffer to many sockets (hop 7): the inner loop of a fan-out, called without the interpreter lock.
 *
 * Compiled on request by `python -m edge.native.build`; no Python header is needed. Knows nothing of frames, groups or order.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#if defined(__linux__) && __has_include(<linux/io_uring.h>)
#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#define SENDS_PER_LOOK 32 /* between two looks at the clock: about a quarter of a millisecond */

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int send_one(int descriptor, const void *buffer, size_t size) {
    ssize_t sent;
    if (descriptor < 0) return -EAGAIN;
    do sent = send(descriptor, buffer, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : (int)sent;
}

/* Serves descriptors from place `count - 1` down to 0 until `limit_ns` have passed or `troubles_room` troubles are noted.
 *
 * A descriptor below 0 is a trouble by itself (the caller serves it). For a trouble, `places` gets its place and `results` the bytes
 * that the socket took (less than all), or -errno. Returns the lowest place that was served: 0 when all were; `*troubles` says how many.
 */
int throng_fan_out(const int *descriptors, int count, const void *buffer, size_t size, int64_t limit_ns, int *places, int *results,
                   int troubles_room, int *troubles) {
    int64_t deadline = now_ns() + limit_ns;
    int noted = 0, place = count;
    while (place > 0 && noted < troubles_room) {
        int sent = send_one(descriptors[--place], buffer, size);
        if ((size_t)sent != size) {
            places[noted] = place;
            results[noted++] = sent;
        }
        if (place % SENDS_PER_LOOK == 0 && now_ns() >= deadline) break;
    }
    *troubles = noted;
    return place;
}

/* The same by io_uring: SENDS_PER_CALL sends in one system call. One ring, so for one thread of a process. */
#define SENDS_PER_CALL 64

#ifdef IORING_ENTER_GETEVENTS

static int ring = -1;
static unsigned *submit_head, *submit_tail, *submit_mask, *submit_places, *done_head, *done_tail, *done_mask;
static struct io_uring_sqe *entries;
static struct io_uring_cqe *outcomes;

/* 0, or the errno for which there is no ring. */
int throng_ring_open(void) {
    struct io_uring_params made;
    if (ring >= 0) return 0;
    memset(&made, 0, sizeof made);
    int opened = syscall(__NR_io_uring_setup, SENDS_PER_CALL, &made);
    if (opened < 0) return errno;
    int protection = PROT_READ | PROT_WRITE, flags = MAP_SHARED | MAP_POPULATE;
    char *submit = mmap(0, made.sq_off.array + made.sq_entries * sizeof(unsigned), protection, flags, opened, IORING_OFF_SQ_RING);
    char *done = mmap(0, made.cq_off.cqes + made.cq_entries * sizeof *outcomes, protection, flags, opened, IORING_OFF_CQ_RING);
    entries = mmap(0, made.sq_entries * sizeof *entries, protection, flags, opened, IORING_OFF_SQES);
    if (submit == MAP_FAILED || done == MAP_FAILED || (void *)entries == MAP_FAILED) {
        close(opened);
        return ENOMEM;
    }
    submit_head = (void *)(submit + made.sq_off.head), submit_tail = (void *)(submit + made.sq_off.tail);
    submit_mask = (void *)(submit + made.sq_off.ring_mask), submit_places = (void *)(submit + made.sq_off.array);
    done_head = (void *)(done + made.cq_off.head), done_tail = (void *)(done + made.cq_off.tail);
    done_mask = (void *)(done + made.cq_off.ring_mask), outcomes = (void *)(done + made.cq_off.cqes);
    ring = opened;
    return 0;
}

/* Adds a send to the ring; its outcome will name the place. */
static void prepare(int place, int descriptor, const void *buffer, size_t size) {
    unsigned tail = *submit_tail, slot = tail & *submit_mask;
    struct io_uring_sqe *entry = &entries[slot];
    memset(entry, 0, sizeof *entry);
    entry->opcode = IORING_OP_SEND, entry->fd = descriptor, entry->user_data = place;
    entry->addr = (uintptr_t)buffer, entry->len = size, entry->msg_flags = MSG_DONTWAIT | MSG_NOSIGNAL;
    submit_places[slot] = slot;
    __atomic_store_n(submit_tail, tail + 1, __ATOMIC_RELEASE);
}

/* Has the prepared sends done; returns how many were, the first ones. What the kernel did not take is not sent and forgotten. */
static int submit_all(int prepared) {
    unsigned first = *submit_tail - prepared;
    for (;;) {
        int left = (int)(*submit_tail - __atomic_load_n(submit_head, __ATOMIC_ACQUIRE));
        if (!left) break;
        if (syscall(__NR_io_uring_enter, ring, left, 0, 0, 0, 0) <= 0 && errno != EINTR) break;
    }
    unsigned taken = __atomic_load_n(submit_head, __ATOMIC_ACQUIRE);
    __atomic_store_n(submit_tail, taken, __ATOMIC_RELEASE);
    int submitted = (int)(taken - first);
    while ((int)(__atomic_load_n(done_tail, __ATOMIC_ACQUIRE) - *done_head) < submitted)
        syscall(__NR_io_uring_enter, ring, 0, submitted, IORING_ENTER_GETEVENTS, 0, 0);
    return submitted;
}

int throng_ring_fan_out(const int *descriptors, int count, const void *buffer, size_t size, int64_t limit_ns, int *places, int *results,
                        int troubles_room, int *troubles) {
    int64_t deadline = now_ns() + limit_ns;
    int noted = 0, place = count;
    while (place > 0 && troubles_room - noted >= SENDS_PER_CALL) {
        int chosen[SENDS_PER_CALL], prepared = 0, end = place > SENDS_PER_CALL ? place - SENDS_PER_CALL : 0;
        while (place-- > end) {
            if (descriptors[place] < 0) {
                places[noted] = place, results[noted++] = -EAGAIN;
            } else {
                chosen[prepared++] = place;
                prepare(place, descriptors[place], buffer, size);
            }
        }
        place = end;
        int submitted = prepared ? submit_all(prepared) : 0;
        unsigned head = *done_head;
        for (int i = 0; i < submitted; i++, head++) {
            struct io_uring_cqe *outcome = &outcomes[head & *done_mask];
            int of = (int)outcome->user_data, sent = outcome->res;
            if (sent == -EINTR) sent = send_one(descriptors[of], buffer, size);
            if ((size_t)sent != size) places[noted] = of, results[noted++] = sent;
        }
        __atomic_store_n(done_head, head, __ATOMIC_RELEASE);
        for (int i = submitted; i < prepared; i++) {
            int sent = send_one(descriptors[chosen[i]], buffer, size);
            if ((size_t)sent != size) places[noted] = chosen[i], results[noted++] = sent;
        }
        if (now_ns() >= deadline) break;
    }
    *troubles = noted;
    return place;
}

#else

int throng_ring_open(void) { return ENOSYS; }

int throng_ring_fan_out(const int *descriptors, int count, const void *buffer, size_t size, int64_t limit_ns, int *places, int *results,
                        int troubles_room, int *troubles) {
    return throng_fan_out(descriptors, count, buffer, size, limit_ns, places, results, troubles_room, troubles);
}

#endif
