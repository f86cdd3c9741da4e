/* The least that a one-core server can do with a group: epoll, one frame, one send(2) per member.
 *
 * No heartbeat, no outbox, no limits (a short write ends the connection). It marks what the kernel of this machine
 * allows; bench_fan_out.py divides by its figure.
 *
 * Usage: fan_out_floor MESSAGE_BYTES. Prints "PORT CONTROL_PORT". Members upgrade on PORT; every byte that arrives on
 * the one connection to CONTROL_PORT publishes one message: a frame whose payload ends with its number, 8 decimal
 * digits. Ends when the control connection ends, and prints how many microseconds the sends of each of the last messages took.
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

#define MAX_MEMBERS 65536
#define MAX_MESSAGE 65535
#define KEPT_TIMES 256

static const char ANSWER[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                             "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
static int members[MAX_MEMBERS], member_count, is_member[MAX_MEMBERS];
static unsigned char frame[MAX_MESSAGE + 4];
static uint64_t published;
static long times_us[KEPT_TIMES];

static long now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int listen_on_loopback(int *port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (bind(fd, (void *)&address, length) || listen(fd, 4096) || getsockname(fd, (void *)&address, &length)) {
        perror("listen");
        exit(1);
    }
    *port = ntohs(address.sin_port);
    return fd;
}

static void publish(int frame_bytes) {
    char digits[24];
    snprintf(digits, sizeof digits, "%08lu", (unsigned long)(++published % 100000000));
    memcpy(frame + frame_bytes - 8, digits, 8);
    long began = now_us();
    for (int i = 0; i < member_count; i++)
        if (send(members[i], frame, frame_bytes, MSG_DONTWAIT | MSG_NOSIGNAL) != frame_bytes) {
            if (errno == EAGAIN) fprintf(stderr, "short write\n"); /* not when the client has left */
            shutdown(members[i], SHUT_RDWR);
        }
    times_us[published % KEPT_TIMES] = now_us() - began;
}

static int end(void) {
    uint64_t first = published > KEPT_TIMES ? published - KEPT_TIMES : 0;
    while (first++ < published) printf("%ld ", times_us[first % KEPT_TIMES]);
    printf("\n");
    return 0;
}

int main(int argc, char **argv) {
    int message_bytes = argc > 1 ? atoi(argv[1]) : 208, port, control_port, control = -1, one = 1, header_bytes = 2;
    memset(frame, 'x', sizeof frame);
    frame[0] = 0x82;
    if (message_bytes < 126) {
        frame[1] = message_bytes;
    } else {
        frame[1] = 126, frame[2] = message_bytes >> 8, frame[3] = message_bytes, header_bytes = 4;
    }
    int listener = listen_on_loopback(&port), control_listener = listen_on_loopback(&control_port), epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[256];
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    event.data.fd = control_listener;
    epoll_ctl(epoll, EPOLL_CTL_ADD, control_listener, &event);
    printf("%d %d\n", port, control_port);
    fflush(stdout);
    for (;;) {
        int count = epoll_wait(epoll, events, 256, -1);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd, accepted;
            char input[4096];
            if (fd == listener || fd == control_listener) {
                while ((accepted = accept4(fd, 0, 0, SOCK_NONBLOCK)) >= 0) {
                    setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                    if (fd == control_listener) control = accepted;
                    event.data.fd = accepted;
                    epoll_ctl(epoll, EPOLL_CTL_ADD, accepted, &event);
                }
                continue;
            }
            ssize_t received = recv(fd, input, sizeof input, 0);
            if (received < 0 && errno == EAGAIN) continue;
            if (fd == control) {
                if (received <= 0) return end();
                while (received-- > 0) publish(message_bytes + header_bytes);
            } else if (received <= 0) {
                epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL);
            } else if (!is_member[fd]) { /* the client sends its upgrade request in one piece */
                is_member[fd] = 1;
                members[member_count++] = fd;
                send(fd, ANSWER, sizeof ANSWER - 1, MSG_NOSIGNAL);
            }
        }
    }
}
