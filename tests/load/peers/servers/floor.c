/* The least that a one-core server can do with a room: epoll, one frame, one send(2) per member, what one member says to all.
 *
 * Usage: floor PORT. No heartbeat, no outbox, no limits: a member whose socket does not take a whole frame is dropped. It marks
 * what the kernel of this machine allows.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_FD 65536
#define MAX_FRAME 65536

static const char ANSWER[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                             "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
static int members[MAX_FD], place[MAX_FD], count;
static char *held[MAX_FD];
static int held_bytes[MAX_FD];

static void drop(int fd) {
    if (place[fd]) {
        int last = members[--count];
        members[place[fd] - 1] = last;
        place[last] = place[fd];
        place[fd] = 0;
    }
    free(held[fd]);
    held[fd] = NULL;
    held_bytes[fd] = 0;
    close(fd);
}

static void publish(const char *text, int length) {
    static char frame[MAX_FRAME + 4];
    int header = length < 126 ? 2 : 4;
    frame[0] = (char)0x81;
    if (length < 126) frame[1] = length;
    else frame[1] = 126, frame[2] = length >> 8, frame[3] = length;
    memcpy(frame + header, text, length);
    for (int i = count; i--;)
        if (send(members[i], frame, header + length, MSG_DONTWAIT | MSG_NOSIGNAL) != header + length) drop(members[i]);
}

/* Takes masked text frames (their mask is 0) out of what came; others are passed over. */
static int take_frames(const char *bytes, int length) {
    int used = 0;
    for (;;) {
        const unsigned char *frame = (const unsigned char *)bytes + used;
        if (length - used < 2) return used;
        int payload = frame[1] & 127, header = payload == 126 ? 8 : 6;
        if (length - used < header) return used;
        if (payload == 126) payload = frame[2] << 8 | frame[3];
        if (length - used < header + payload) return used;
        if ((frame[0] & 15) == 1) publish((const char *)frame + header, payload);
        used += header + payload;
    }
}

static void serve(int fd) {
    static char buffer[2 * MAX_FRAME];
    int start = held_bytes[fd];
    if (start) memcpy(buffer, held[fd], start);
    ssize_t received = recv(fd, buffer + start, MAX_FRAME, MSG_DONTWAIT);
    if (received <= 0) {
        drop(fd);
        return;
    }
    int length = start + received, used = 0;
    if (!place[fd]) {
        char *end = memmem(buffer, length, "\r\n\r\n", 4);
        if (end) {
            used = end + 4 - buffer;
            if (send(fd, ANSWER, sizeof ANSWER - 1, MSG_NOSIGNAL) < 0) {
                drop(fd);
                return;
            }
            members[count++] = fd;
            place[fd] = count;
        }
    }
    if (place[fd]) used += take_frames(buffer + used, length - used);
    if (used < length) held[fd] = realloc(held[fd], MAX_FRAME), memcpy(held[fd], buffer + used, length - used);
    held_bytes[fd] = length - used;
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), epoll = epoll_create1(0), one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (void *)&address, sizeof address) || listen(listener, 4096)) {
        perror("listen");
        return 1;
    }
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[256];
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int ready = epoll_wait(epoll, events, 256, -1);
        for (int i = 0; i < ready; i++) {
            if (events[i].data.fd != listener) {
                serve(events[i].data.fd);
                continue;
            }
            for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0;) {
                if (fd >= MAX_FD) {
                    close(fd);
                    continue;
                }
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                event.data.fd = fd;
                epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
            }
        }
    }
}
