/* One more way to send a frame to many sockets, for bench_send_loops.py: a batch of sends per system call, by io_uring. */
#define _GNU_SOURCE
#include <linux/io_uring.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static int ring;
static unsigned *submit_tail, *submit_mask, *submit_places, *done_head, *done_tail, *done_mask;
static struct io_uring_sqe *entries;
static struct io_uring_cqe *results;

/* 0, or -1 where io_uring is refused. */
int uring_open(unsigned size) {
    struct io_uring_params made;
    memset(&made, 0, sizeof made);
    if ((ring = syscall(__NR_io_uring_setup, size, &made)) < 0) return -1;
    int protection = PROT_READ | PROT_WRITE, flags = MAP_SHARED | MAP_POPULATE;
    char *submit = mmap(0, made.sq_off.array + made.sq_entries * sizeof(unsigned), protection, flags, ring, IORING_OFF_SQ_RING);
    char *done = mmap(0, made.cq_off.cqes + made.cq_entries * sizeof *results, protection, flags, ring, IORING_OFF_CQ_RING);
    entries = mmap(0, made.sq_entries * sizeof *entries, protection, flags, ring, IORING_OFF_SQES);
    if (submit == MAP_FAILED || done == MAP_FAILED || (void *)entries == MAP_FAILED) return -1;
    submit_tail = (void *)(submit + made.sq_off.tail), submit_mask = (void *)(submit + made.sq_off.ring_mask);
    submit_places = (void *)(submit + made.sq_off.array);
    done_head = (void *)(done + made.cq_off.head), done_tail = (void *)(done + made.cq_off.tail);
    done_mask = (void *)(done + made.cq_off.ring_mask), results = (void *)(done + made.cq_off.cqes);
    return 0;
}

/* How many sockets did not take the frame whole. */
int uring_send(const int *descriptors, int count, const void *frame, size_t size, int batch) {
    int troubles = 0;
    for (int at = 0; at < count;) {
        int now = count - at < batch ? count - at : batch;
        unsigned tail = *submit_tail;
        for (int i = 0; i < now; i++) {
            unsigned place = (tail + i) & *submit_mask;
            struct io_uring_sqe *entry = &entries[place];
            memset(entry, 0, sizeof *entry);
            entry->opcode = IORING_OP_SEND, entry->fd = descriptors[at + i];
            entry->addr = (uintptr_t)frame, entry->len = size, entry->msg_flags = MSG_DONTWAIT | MSG_NOSIGNAL;
            submit_places[place] = place;
        }
        __atomic_store_n(submit_tail, tail + now, __ATOMIC_RELEASE);
        syscall(__NR_io_uring_enter, ring, now, now, IORING_ENTER_GETEVENTS, 0, 0);
        unsigned head = *done_head;
        for (; head != __atomic_load_n(done_tail, __ATOMIC_ACQUIRE); head++) troubles += results[head & *done_mask].res != (int)size;
        __atomic_store_n(done_head, head, __ATOMIC_RELEASE);
        at += now;
    }
    return troubles;
}
