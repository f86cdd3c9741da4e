/* What the load clients in C share: clocks, waiting for sockets, and WebSocket frames as a client writes and reads them. */
#ifndef CLIENT_SOCKET_H
#define CLIENT_SOCKET_H

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

#define MAX_FRAME_HEAD 8

struct frame {
    int first; /* the first byte: opcode and flags */
    const char *payload;
    int length;
};

/* Says why on standard error and ends with 2. */
static inline void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(2);
}

static inline double clock_seconds(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static inline double now(void) { return clock_seconds(CLOCK_MONOTONIC); }

/* CPU seconds of this process. */
static inline double own_use(void) { return clock_seconds(CLOCK_PROCESS_CPUTIME_ID); }

/* Waits for events until then at the latest; returns how many came. */
static inline int wait_events(int epoll, struct epoll_event *events, int room, double until) {
    double left = until - now();
    struct timespec wait = {0, 0};
    if (left > 0) wait.tv_sec = (time_t)left, wait.tv_nsec = (left - (time_t)left) * 1e9;
    return epoll_pwait2(epoll, events, room, &wait, NULL);
}

/* What became of a connect; 0: no error. */
static inline int socket_error(int fd) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
    return error;
}

/* The answer to an upgrade: how many bytes it has, 0 while it is not whole, -1 when it refuses, with the reason in `why`. */
static inline int read_upgrade(const char *bytes, int length, char *why, size_t room) {
    const char *end = memmem(bytes, length, "\r\n\r\n", 4);
    if (!end) return 0;
    if (length >= 12 && !memcmp(bytes, "HTTP/1.1 101", 12)) return (int)(end + 4 - bytes);
    snprintf(why, room, "%.60s", bytes);
    return -1;
}

/* The frame at the front: how many bytes it has, 0 while it is not whole. */
static inline int read_frame(const char *bytes, int length, struct frame *frame) {
    const unsigned char *head = (const unsigned char *)bytes;
    if (length < 2) return 0;
    uint64_t payload = head[1] & 127;
    int before = payload == 126 ? 4 : payload == 127 ? 10 : 2;
    if (length < before) return 0;
    if (payload == 126) payload = head[2] << 8 | head[3];
    else if (payload == 127)
        for (int i = payload = 0; i < 8; i++) payload = payload << 8 | head[2 + i];
    if ((uint64_t)(length - before) < payload) return 0;
    *frame = (struct frame){head[0], bytes + before, (int)payload};
    return before + (int)payload;
}

/* Writes what stands before the payload of a whole, masked frame; returns its bytes. */
static inline int write_frame_head(char *to, int opcode, int length, const char *mask) {
    int bytes = 2;
    if (length > 65535) fail("a frame of %d bytes is too long", length);
    to[0] = (char)(0x80 | opcode);
    if (length < 126) to[1] = (char)(0x80 | length);
    else to[1] = (char)(0x80 | 126), to[2] = (char)(length >> 8), to[3] = (char)length, bytes = 4;
    memcpy(to + bytes, mask, 4);
    return bytes + 4;
}

#endif
