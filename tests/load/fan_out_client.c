/* The neutral client of bench_fan_out.py: many members of one group in one process, reading by epoll.
 *
 * Usage: fan_out_client PORT CONTROL_PORT SERVER_PID MEMBERS MESSAGE_BYTES SECONDS WINDOW...
 * The last 8 bytes of a message are its number in decimal digits; frames that do not end so (the edge's welcome) are passed over.
 * Connects MEMBERS WebSockets, then prints "ready" and waits for one line on standard input (the driver reads the server's memory
 * meanwhile). For every WINDOW it keeps so many messages in flight for SECONDS: a message is done when every member has
 * it, and then one byte on the control connection asks for the next. Prints one line per window:
 * WINDOW DELIVERIES WALL_SECONDS SERVER_CPU_SECONDS OUT_OF_ORDER
 * A WINDOW below 0 asks for so many messages per second instead, evenly, and its line goes on with the microseconds that each took
 * from the asking until the last member had it.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_FRAME 4096
#define RING 65536

struct member {
    uint64_t last;
    int fd, held;
    unsigned char part[MAX_FRAME];
};

static const char REQUEST[] = "GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                              "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
static int arrived[RING];
static uint64_t out_of_order, deliveries, completed;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static double cpu_seconds(int pid) {
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    size_t length = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[length] = 0;
    unsigned long user = 0, kernel = 0;
    char *after_name = strrchr(text, ')');
    if (after_name) sscanf(after_name + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &kernel);
    return (double)(user + kernel) / sysconf(_SC_CLK_TCK);
}

static int connect_to(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    if (fd < 0 || connect(fd, (void *)&address, sizeof address)) {
        perror("connect");
        exit(1);
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static void upgrade(int fd) {
    char answer[2048], *end = NULL;
    if (send(fd, REQUEST, sizeof REQUEST - 1, 0) < 0) exit(1);
    while (!end) { /* frames may follow the answer at once: they stay in the socket */
        int seen = recv(fd, answer, sizeof answer, MSG_PEEK);
        if (seen <= 0) {
            fprintf(stderr, "no upgrade\n");
            exit(1);
        }
        end = memmem(answer, seen, "\r\n\r\n", 4);
    }
    int length = end + 4 - answer;
    if (recv(fd, answer, length, MSG_WAITALL) != length) exit(1);
}

static void take(struct member *member, const unsigned char *payload, int payload_bytes, int members) {
    uint64_t number = 0;
    if (payload_bytes < 8) return;
    for (const unsigned char *at = payload + payload_bytes - 8; at < payload + payload_bytes; at++) {
        if (*at < '0' || *at > '9') return;
        number = number * 10 + (*at - '0');
    }
    if (number != member->last + 1) out_of_order++;
    member->last = number;
    deliveries++;
    if (++arrived[number % RING] == members) {
        arrived[number % RING] = 0;
        completed++;
    }
}

static void read_member(struct member *member, int members) {
    static unsigned char buffer[MAX_FRAME + 262144];
    memcpy(buffer, member->part, member->held);
    ssize_t received = recv(member->fd, buffer + member->held, 262144, MSG_DONTWAIT);
    if (received < 0 && errno == EAGAIN) return;
    if (received <= 0) {
        fprintf(stderr, "a connection ended\n");
        exit(1);
    }
    int length = member->held + received, at = 0;
    while (length - at >= 4) { /* a ping of 2 bytes waits here for the next message */
        int header_bytes = buffer[at + 1] == 126 ? 4 : 2;
        int payload_bytes = buffer[at + 1] == 126 ? buffer[at + 2] << 8 | buffer[at + 3] : buffer[at + 1];
        if (length - at < header_bytes + payload_bytes) break;
        if (!(buffer[at] & 8)) take(member, buffer + at + header_bytes, payload_bytes, members); /* not a control frame */
        at += header_bytes + payload_bytes;
    }
    member->held = length - at;
    memcpy(member->part, buffer + at, member->held);
}

static void ask(int control, int count) {
    static const char bytes[4096];
    if (count > 0 && send(control, bytes, count, 0) != count) exit(1);
}

static void serve(int epoll, int timeout_ms, int members) {
    struct epoll_event events[512];
    int count = epoll_wait(epoll, events, 512, timeout_ms);
    for (int i = 0; i < count; i++) read_member(events[i].data.ptr, members);
}

static void run_paced(int epoll, int control, int pid, int members, int per_second, double seconds) {
    int count = per_second * seconds;
    long *took_us = calloc(count, sizeof *took_us);
    double began = now(), cpu = cpu_seconds(pid);
    deliveries = 0;
    for (int i = 0; i < count; i++) {
        double due = began + (double)i / per_second;
        while (now() < due) serve(epoll, (due - now()) * 1000, members);
        uint64_t wanted = completed + 1;
        double asked = now();
        ask(control, 1);
        while (completed < wanted) serve(epoll, 1000, members);
        took_us[i] = (now() - asked) * 1e6;
    }
    printf("%d %lu %.3f %.3f %lu", -per_second, deliveries, now() - began, cpu_seconds(pid) - cpu, out_of_order);
    for (int i = 0; i < count; i++) printf(" %ld", took_us[i]);
    printf("\n");
    fflush(stdout);
    free(took_us);
}

int main(int argc, char **argv) {
    if (argc < 8) return 2;
    int port = atoi(argv[1]), control_port = atoi(argv[2]), pid = atoi(argv[3]), members = atoi(argv[4]);
    int message_bytes = atoi(argv[5]);
    double seconds = atof(argv[6]);
    if (message_bytes + 4 > MAX_FRAME) return 2;
    struct member *all = calloc(members, sizeof *all);
    int epoll = epoll_create1(0), control = connect_to(control_port);
    struct epoll_event event = {.events = EPOLLIN};
    for (int i = 0; i < members; i++) {
        all[i].fd = connect_to(port);
        upgrade(all[i].fd);
        event.data.ptr = &all[i];
        epoll_ctl(epoll, EPOLL_CTL_ADD, all[i].fd, &event);
    }
    printf("ready\n");
    fflush(stdout);
    char line[16];
    if (!fgets(line, sizeof line, stdin)) return 1;
    for (int w = 7; w < argc; w++) {
        int window = atoi(argv[w]);
        if (window < 0) {
            run_paced(epoll, control, pid, members, -window, seconds * 3);
            continue;
        }
        uint64_t asked = completed;
        double began = 0, cpu = 0, warm_until = now() + 0.3, until = 0;
        for (;;) {
            double moment = now();
            if (!began && moment >= warm_until) began = moment, until = moment + seconds, cpu = cpu_seconds(pid), deliveries = 0;
            if (began && moment >= until) break;
            int more = window - (int)(asked - completed);
            ask(control, more);
            asked += more;
            serve(epoll, 100, members);
        }
        printf("%d %lu %.3f %.3f %lu\n", window, deliveries, now() - began, cpu_seconds(pid) - cpu, out_of_order);
        fflush(stdout);
        while (w + 1 < argc && completed < asked) {
            serve(epoll, 1000, members);
        }
    }
    return 0;
}
