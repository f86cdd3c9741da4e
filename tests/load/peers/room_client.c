/* The neutral client of `make bench`: many members of one WebSocket room, whatever server holds it.
 *
 * It opens MEMBERS connections, publishes numbered messages (by HTTP on one keep-alive connection, or as further members by
 * WebSocket) and checks that every member gets every message once, those of one publisher in their order, and all members all of
 * them in the same order. Messages are recognised by a marker in their text, "seq=" and ten digits, so that a server may wrap them
 * in any envelope that leaves text readable, and may put several in a frame.
 *
 * room_client --port P --members N [options] PHASE...
 *   --host 127.0.0.1  --path /ws      {member} in path, headers and steps: number of the connection
 *   --header 'Name: value'            of the handshake; may be given again
 *   --member-headers FILE             further headers, a line per member (the publishers' last), headers separated by tabs
 *   --say TEXT, --await TEXT          steps after the 101, in the order given: sends a text frame; waits for a frame that holds TEXT
 *   --answer IN=OUT                   answers a frame (or a line of one) that is IN with OUT: pings of an application
 *   --publish http|ws                 how messages are published; ws: by --publishers K further members (1), binary with --binary
 *   --publish-port P --request 'POST /pub' --publish-header 'Name: value'
 *   --body TEMPLATE                   {text}: the message; {seq}: its number; {uuid}: an id; default {text}
 *   --bytes 208                       size of {text}
 *   --server PID[,PID...]             whose CPU time and memory are read
 *   --label NAME --settle 2           seconds between connecting and reading memory
 * PHASE: idle:SECONDS | closed:WINDOW:SECONDS (messages in flight; the next goes when the oldest has reached everybody) |
 *        rate:PER_SECOND:SECONDS (open loop)
 * Writes one JSON object per phase to standard output, the first for connecting. 1: not all members could take part.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "../client_socket.h"

#define MAX_MESSAGES 4000000
#define MAX_STEPS 16
#define MAX_ANSWERS 4
#define MAX_PUBLISHERS 8
#define READ_BYTES 262144
#define AT_ONCE 64
#define STALL_SECONDS 5.0
#define PATIENCE_SECONDS 20.0

enum state { OPENING, UPGRADING, STEPPING, IN, GONE };

struct member {
    int fd, number, step;
    enum state state;
    uint32_t next[MAX_PUBLISHERS];   /* the message that is expected of each publisher; numbers are dealt out to them in turn */
    uint64_t order;                  /* a hash of what came, in its order */
    uint32_t taken;
    uint32_t *missing, missing_count, missing_room;
    char *held;                      /* the beginning of a frame whose rest has not come */
    int held_bytes, held_room;
    char *out;                       /* what the socket did not take */
    int out_bytes;
};

struct step { int awaits; char *text; };
struct answer { char *in, *out; };

static const char *host = "127.0.0.1", *path = "/ws", *publish_by = "http", *request = "POST /pub", *body = "{text}", *label = "server", *headers_file;
static int port, publish_port, member_count, publisher_count = 1, message_bytes = 208, binary;
static double settle_seconds = 2;
static char headers[4096], publish_headers[4096], run_id[16];
static char **own_headers;
static struct step steps[MAX_STEPS];
static struct answer answers[MAX_ANSWERS];
static int step_count, answer_count, pids[64], pid_count;

static struct member *members, *publishers, *http;
static int epoll, connecting, taking_part, publishing, failed;
static double *published_at, *last_latencies;
static uint32_t *arrived;
static uint32_t published, completed;
static uint64_t deliveries, frames, reads, received_bytes, duplicated, reordered, disconnected, refused;
static int outstanding, window, over;
static size_t last_count;
static double progress_at;

/* User and system seconds, and resident KB, of all processes of the server. */
static double server_use(long *resident_kb) {
    double seconds = 0;
    *resident_kb = 0;
    for (int i = 0; i < pid_count; i++) {
        char name[64], text[1024];
        snprintf(name, sizeof name, "/proc/%d/stat", pids[i]);
        FILE *file = fopen(name, "r");
        if (!file) continue;
        size_t length = fread(text, 1, sizeof text - 1, file);
        fclose(file);
        text[length] = 0;
        unsigned long user = 0, kernel = 0;
        long pages = 0;
        char *rest = strrchr(text, ')');
        if (rest)
            sscanf(rest + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %*d %*d %*d %*d %*d %*d %*u %*u %ld", &user, &kernel, &pages);
        seconds += (double)(user + kernel) / sysconf(_SC_CLK_TCK);
        *resident_kb += pages * (sysconf(_SC_PAGESIZE) / 1024);
    }
    return seconds;
}

/* Writes a template to `to` with {member}, {text}, {seq}, {uuid} filled in; returns the length. */
static int fill(char *to, int room, const char *from, const struct member *who, uint32_t seq) {
    int length = 0;
    while (*from && length < room - message_bytes - 64) {
        if (!strncmp(from, "{member}", 8)) length += sprintf(to + length, "%d", who->number), from += 8;
        else if (!strncmp(from, "{seq}", 5)) length += sprintf(to + length, "%u", seq), from += 5;
        else if (!strncmp(from, "{uuid}", 6)) length += sprintf(to + length, "%s-0000-4000-8000-%012x", run_id, seq), from += 6;
        else if (!strncmp(from, "{text}", 6)) {
            int head = sprintf(to + length, "seq=%010u", seq);
            memset(to + length + head, 'x', message_bytes - head);
            length += message_bytes;
            from += 6;
        } else to[length++] = *from++;
    }
    to[length] = 0;
    return length;
}

static int publishes(const struct member *member) {
    return publishers && member >= publishers;
}

/* The first message after the one numbered `seq` that publisher `who` sends. */
static uint32_t next_of(uint32_t seq, uint32_t who) {
    uint32_t next = seq + 1;
    return next + (who + publisher_count - next % publisher_count) % publisher_count;
}

static void begin(struct member *member) {
    for (int i = 0; i < publisher_count; i++) member->next[i] = next_of(published, i);
    member->missing_count = member->taken = 0;
    member->order = 0;
}

static void leave(struct member *member, const char *why) {
    static int told;
    if (member->state == GONE) return;
    if (!over && told++ < 5) fprintf(stderr, "[%s] connection %d ended: %s\n", label, member->number, why);
    if (member == http) {
        if (!over) fail("[%s] the publishing connection ended: %s", label, why);
    } else if (member->state == IN) {
        if (publishes(member)) publishing--;
        else taking_part--, disconnected += !over;
    } else connecting--, failed++;
    member->state = GONE;
    close(member->fd);
}

static void put(struct member *member, const char *bytes, int length) {
    int sent = 0;
    if (!member->out_bytes) {
        sent = send(member->fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0) sent = 0; /* an error is met again, and told, when the socket is read */
    }
    if (sent == length) return;
    member->out = realloc(member->out, member->out_bytes + length - sent);
    memcpy(member->out + member->out_bytes, bytes + sent, length - sent);
    member->out_bytes += length - sent;
}

static void put_rest(struct member *member) {
    if (!member->out_bytes) return;
    int sent = send(member->fd, member->out, member->out_bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent <= 0) return;
    member->out_bytes -= sent;
    memmove(member->out, member->out + sent, member->out_bytes);
}

/* One masked frame; the mask is 0, which leaves the text as it is. */
static void say(struct member *member, int opcode, const char *text, int length) {
    static char frame[65536 + MAX_FRAME_HEAD];
    int head = write_frame_head(frame, opcode, length, "\0\0\0");
    memcpy(frame + head, text, length);
    put(member, frame, head + length);
}

static void take_steps(struct member *member) {
    char text[8192];
    while (member->step < step_count && !steps[member->step].awaits) {
        int length = fill(text, sizeof text, steps[member->step].text, member, 0);
        say(member, 1, text, length);
        member->step++;
    }
    if (member->step < step_count || member->state != STEPPING) return;
    member->state = IN;
    begin(member);
    connecting--;
    if (publishes(member)) publishing++;
    else taking_part++;
}

static void publish(void) {
    static char text[65536], whole[70000];
    if (published + 1 >= MAX_MESSAGES) fail("too many messages");
    uint32_t seq = ++published;
    struct member *by = publishers ? &publishers[seq % publisher_count] : http;
    int length = fill(text, sizeof text, body, by, seq);
    published_at[seq] = now();
    if (publishers) {
        say(by, binary ? 2 : 1, text, length);
        return;
    }
    int head = snprintf(whole, sizeof whole, "%s HTTP/1.1\r\nHost: %s:%d\r\nContent-Length: %d\r\n%s\r\n", request, host, publish_port, length, publish_headers);
    memcpy(whole + head, text, length);
    outstanding++;
    put(http, whole, head + length);
}

static void publish_more(void) {
    while (window && published - completed < (uint32_t)window) publish();
}

static void arrive(struct member *member, uint32_t seq, double at) {
    if (seq == 0 || seq > published) {
        duplicated++; /* of an earlier run, or made up */
        return;
    }
    progress_at = at;
    uint32_t *next = &member->next[seq % publisher_count];
    if (seq < *next) {
        uint32_t i = 0;
        while (i < member->missing_count && member->missing[i] != seq) i++;
        if (i == member->missing_count) {
            duplicated++;
            return;
        }
        member->missing[i] = member->missing[--member->missing_count];
        reordered++;
    }
    for (; *next <= seq; *next += publisher_count) {
        if (*next == seq) continue;
        if (member->missing_count == member->missing_room) {
            member->missing_room = member->missing_room * 2 + 16;
            member->missing = realloc(member->missing, member->missing_room * sizeof *member->missing);
        }
        member->missing[member->missing_count++] = *next;
    }
    member->order = (member->order ^ seq) * 0x100000001b3u;
    member->taken++;
    deliveries++;
    if (++arrived[seq] != (uint32_t)taking_part) return;
    last_latencies[last_count++] = at - published_at[seq];
    while (completed < published && arrived[completed + 1] >= (uint32_t)taking_part) completed++;
    publish_more();
}

static void read_numbers(struct member *member, const char *text, int length, double at) {
    const char *end = text + length;
    for (const char *found = text; (found = memmem(found, end - found, "seq=", 4)) && found + 14 <= end; found += 14) {
        uint32_t seq = 0;
        for (int i = 4; i < 14; i++) seq = seq * 10 + (found[i] - '0');
        arrive(member, seq, at);
    }
}

static void give_answers(struct member *member, const char *text, int length) {
    for (const char *line = text, *end = text + length; line < end;) {
        const char *next = memchr(line, '\n', end - line);
        size_t line_bytes = (next ? next : end) - line;
        for (int i = 0; i < answer_count; i++)
            if (strlen(answers[i].in) == line_bytes && !memcmp(answers[i].in, line, line_bytes)) say(member, 1, answers[i].out, strlen(answers[i].out));
        line += line_bytes + 1;
    }
}

static void take_frame(struct member *member, int opcode, const char *text, int length, double at) {
    if (opcode == 9) {
        say(member, 10, text, length);
        return;
    }
    if (opcode == 8) {
        leave(member, "close frame");
        return;
    }
    if (opcode == 10) return;
    frames++;
    if (answer_count && opcode == 1) give_answers(member, text, length);
    if (member->state == STEPPING) {
        const char *wanted = steps[member->step].text;
        if (memmem(text, length, wanted, strlen(wanted))) member->step++, take_steps(member);
        return;
    }
    if (!publishes(member)) read_numbers(member, text, length, at);
    else if (memmem(text, length, "\"reject\"", 8) && refused++ < 3) fprintf(stderr, "[%s] refused: %.*s\n", label, length, text);
}

/* Takes whole frames out of the bytes; returns how many bytes they had. */
static int take_frames(struct member *member, const char *bytes, int length, double at) {
    int used = 0, size;
    struct frame frame;
    while (member->state != GONE && (size = read_frame(bytes + used, length - used, &frame))) {
        if (frame.first & 0x40) fail("[%s] a compressed frame came; switch compression off", label);
        used += size;
        take_frame(member, frame.first & 15, frame.payload, frame.length, at);
    }
    return used;
}

static void keep(struct member *member, const char *bytes, int length) {
    if (length > member->held_room) member->held = realloc(member->held, member->held_room = length * 2 + 512);
    memmove(member->held, bytes, length);
    member->held_bytes = length;
}

/* The answer to an upgrade; returns how many bytes it had, 0 while it is not whole. */
static int take_upgrade(struct member *member, const char *bytes, int length) {
    char why[80];
    int used = read_upgrade(bytes, length, why, sizeof why);
    if (used < 0) {
        leave(member, why);
        return length;
    }
    if (used) {
        member->state = STEPPING;
        take_steps(member);
    }
    return used;
}

static int take_answers(const char *bytes, int length) {
    int used = 0;
    for (;;) {
        char head[2048], *end = memmem(bytes + used, length - used, "\r\n\r\n", 4);
        if (!end) return used;
        int head_bytes = end + 4 - bytes - used, body_bytes = 0;
        snprintf(head, sizeof head, "%.*s", head_bytes, bytes + used);
        char *field = strcasestr(head, "\r\nContent-Length:");
        if (field) body_bytes = atoi(field + 17);
        else if (strcasestr(head, "\r\nTransfer-Encoding:")) {
            char *last = memmem(end + 4, length - (end + 4 - bytes), "0\r\n\r\n", 5);
            if (!last) return used;
            body_bytes = last + 5 - (end + 4);
        }
        if (length - used < head_bytes + body_bytes) return used;
        if (head[9] != '2' && refused++ < 3) fprintf(stderr, "[%s] publishing was answered: %.60s\n", label, head);
        used += head_bytes + body_bytes;
        outstanding--;
    }
}

/* Reads what is there, and up to the end where the server has ended: of an end that is passed over no event tells again. */
static void receive(struct member *member, int has_ended) {
    static char buffer[2 * READ_BYTES];
    while (member->state != GONE) {
        int held = member->held_bytes, used = 0;
        if (held > READ_BYTES) fail("[%s] a frame is too long", label);
        ssize_t count = recv(member->fd, buffer + held, READ_BYTES, MSG_DONTWAIT);
        if (count < 0 && errno == EAGAIN) return;
        if (count <= 0) {
            leave(member, count ? strerror(errno) : "end of stream");
            return;
        }
        double at = now();
        reads++;
        received_bytes += count;
        memcpy(buffer, member->held, held);
        member->held_bytes = 0;
        int length = held + count;
        if (member == http) used = take_answers(buffer, length);
        else {
            if (member->state == UPGRADING) used = take_upgrade(member, buffer, length);
            if (member->state == STEPPING || member->state == IN) used += take_frames(member, buffer + used, length - used, at);
        }
        if (member->state != GONE && used < length) keep(member, buffer + used, length - used);
        if (count < READ_BYTES && !has_ended) return;
    }
}

static void serve(struct member *member, uint32_t events) {
    if (member->state == GONE) return;
    if (member->state == OPENING) {
        int error = socket_error(member->fd);
        if (error) {
            leave(member, strerror(error));
            return;
        }
        if (!(events & EPOLLOUT)) return;
        if (member == http) member->state = IN;
        else {
            char text[8192], whole[8192];
            snprintf(text, sizeof text,
                     "GET %s HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s%s\r\n",
                     path, host, port, headers, own_headers ? own_headers[member->number] : "");
            member->state = UPGRADING;
            put(member, whole, fill(whole, sizeof whole, text, member, 0));
        }
    }
    if (events & EPOLLOUT) put_rest(member);
    int has_ended = (events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP)) != 0;
    if (has_ended || events & EPOLLIN) receive(member, has_ended);
}

static void turn(double until) {
    struct epoll_event events[256];
    int count = wait_events(epoll, events, 256, until);
    for (int i = 0; i < count; i++) serve(events[i].data.ptr, events[i].events);
}

static void open_connection(struct member *member, int number, int to_port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
    if (fd < 0) fail("a socket cannot be made: %s (see ulimit -n)", strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    struct sockaddr_in from = {.sin_family = AF_INET}, to = {.sin_family = AF_INET, .sin_port = htons(to_port)};
    /* A source address of this run's own: ports that linger from the run before are no shortage. */
    from.sin_addr.s_addr = htonl(0x7f000000 | (1 + getpid() % 200) << 8 | (2 + number / 10000));
    bind(fd, (void *)&from, sizeof from);
    if (inet_pton(AF_INET, host, &to.sin_addr) != 1) fail("%s is no address", host);
    member->fd = fd;
    member->number = number;
    member->state = OPENING;
    if (connect(fd, (void *)&to, sizeof to) && errno != EINPROGRESS) fail("connect: %s", strerror(errno));
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = member};
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

static int compare(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static double last_ms(double share) {
    return last_count ? last_latencies[(size_t)((last_count - 1) * share + 0.5)] * 1000 : -1;
}

static uint64_t missing(uint32_t first) {
    uint64_t count = 0;
    for (int i = 0; i < member_count; i++)
        if (members[i].state == IN) count += published - first - members[i].taken;
    return count;
}

/* Members who had all messages, but not in the order in which the first such member had them. */
static int disagreeing(uint32_t first) {
    const struct member *judge = NULL;
    int count = 0;
    for (int i = 0; i < member_count; i++) {
        if (members[i].state != IN || members[i].taken != published - first) continue;
        if (!judge) judge = &members[i];
        count += members[i].order != judge->order;
    }
    return count;
}

/* Publishes until the end of the phase; returns the moment. */
static void drive(const char *kind, double amount, double seconds) {
    double began = now(), until = began + seconds;
    progress_at = began;
    if (!strcmp(kind, "idle")) {
        while (now() < until) turn(until);
    } else if (!strcmp(kind, "closed")) {
        window = amount;
        publish_more();
        while (now() < until && taking_part) {
            turn(until < now() + 0.1 ? until : now() + 0.1);
            if (now() - progress_at > STALL_SECONDS) completed++, progress_at = now(), publish_more(); /* lost: counted at the end */
        }
        window = 0;
    } else if (!strcmp(kind, "rate")) {
        for (uint64_t i = 0; taking_part; ) {
            double due = began + i / amount;
            if (due >= until) break;
            if (now() >= due) publish(), i++, turn(0);
            else turn(due);
        }
        while (now() < until && taking_part) turn(until);
    } else fail("no such phase: %s", kind);
}

static void run_phase(const char *phase) {
    char kind[16];
    double amount = 0, seconds = 0;
    int fields = sscanf(phase, "%15[^:]:%lf:%lf", kind, &amount, &seconds);
    if (fields == 2 && !strcmp(kind, "idle")) seconds = amount;
    else if (fields != 3 || amount <= 0) fail("no such phase: %s", phase);
    for (int i = 0; i < member_count; i++) begin(&members[i]);
    deliveries = frames = reads = received_bytes = duplicated = reordered = disconnected = refused = last_count = 0;
    completed = published;
    uint32_t first = published;
    long before_kb, after_kb;
    double cpu = server_use(&before_kb), own = own_use(), began = now();
    drive(kind, amount, seconds);
    uint64_t in_time = deliveries;
    double ended = now();
    while (missing(first) && now() - progress_at < 3 && now() - ended < 60) turn(now() + 0.02);
    while (outstanding > 0 && now() - ended < 61) turn(now() + 0.02);
    double used = server_use(&after_kb) - cpu, own_used = own_use() - own, wall = (progress_at > ended ? progress_at : ended) - began;
    qsort(last_latencies, last_count, sizeof *last_latencies, compare);
    printf("{\"label\": \"%s\", \"phase\": \"%s\", \"members\": %d, \"published\": %u, \"deliveries\": %lu, \"seconds\": %.3f, \"deliveries_per_second\": %.0f, "
           "\"server_cpu_seconds\": %.2f, \"deliveries_per_cpu_second\": %.0f, \"client_cpu_share\": %.3f, \"frames\": %lu, \"reads\": %lu, \"bytes\": %lu, "
           "\"last_p50_ms\": %.2f, \"last_p99_ms\": %.2f, \"last_max_ms\": %.2f, \"lost\": %lu, \"duplicated\": %lu, \"reordered\": %lu, \"disagreeing\": %d, "
           "\"disconnected\": %lu, \"refused\": %lu, \"resident_kb\": %ld}\n",
           label, phase, member_count, published - first, deliveries, wall, in_time / (ended - began), used, used > 0 ? deliveries / used : 0,
           own_used / wall, frames, reads, received_bytes, last_ms(0.5), last_ms(0.99), last_ms(1), missing(first), duplicated, reordered, disagreeing(first), disconnected,
           refused, after_kb);
    fflush(stdout);
}

/* A line per member; tabs between headers become ends of lines. */
static void read_member_headers(const char *name, int lines) {
    FILE *file = fopen(name, "r");
    char line[2048];
    if (!file) fail("%s cannot be read", name);
    own_headers = calloc(lines, sizeof *own_headers);
    for (int i = 0; i < lines; i++) {
        char *to = own_headers[i] = calloc(1, 2 * sizeof line);
        if (!fgets(line, sizeof line, file)) fail("%s needs %d lines", name, lines);
        for (char *field = strtok(line, "\t\n"); field; field = strtok(NULL, "\t\n")) to += sprintf(to, "%s\r\n", field);
    }
    fclose(file);
}

static void read_options(int argc, char **argv) {
    enum { PORT = 1, HOST, PATH, MEMBERS, HEADER, SAY, AWAIT, ANSWER, PUBLISH, BINARY, PUBLISH_PORT, REQUEST, PUBLISH_HEADER, BODY, BYTES, SERVER, LABEL, SETTLE, MEMBER_HEADERS, PUBLISHERS };
    static const struct option known[] = {
        {"port", 1, 0, PORT}, {"host", 1, 0, HOST}, {"path", 1, 0, PATH}, {"members", 1, 0, MEMBERS}, {"header", 1, 0, HEADER}, {"say", 1, 0, SAY},
        {"await", 1, 0, AWAIT}, {"answer", 1, 0, ANSWER}, {"publish", 1, 0, PUBLISH}, {"binary", 0, 0, BINARY}, {"publish-port", 1, 0, PUBLISH_PORT},
        {"request", 1, 0, REQUEST}, {"publish-header", 1, 0, PUBLISH_HEADER}, {"body", 1, 0, BODY}, {"bytes", 1, 0, BYTES}, {"server", 1, 0, SERVER},
        {"label", 1, 0, LABEL}, {"settle", 1, 0, SETTLE}, {"member-headers", 1, 0, MEMBER_HEADERS}, {"publishers", 1, 0, PUBLISHERS}, {0, 0, 0, 0}};
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) > 0;) switch (option) {
        case PORT: port = atoi(optarg); break;
        case HOST: host = optarg; break;
        case PATH: path = optarg; break;
        case MEMBERS: member_count = atoi(optarg); break;
        case HEADER: strncat(strncat(headers, optarg, 2000), "\r\n", 3); break;
        case PUBLISH_HEADER: strncat(strncat(publish_headers, optarg, 2000), "\r\n", 3); break;
        case SAY: case AWAIT:
            if (step_count == MAX_STEPS) fail("too many steps");
            steps[step_count].awaits = option == AWAIT;
            steps[step_count++].text = optarg;
            break;
        case ANSWER: {
            char *equals = strchr(optarg, '=');
            if (!equals || answer_count == MAX_ANSWERS) fail("--answer IN=OUT, at most %d", MAX_ANSWERS);
            *equals = 0;
            answers[answer_count++] = (struct answer){optarg, equals + 1};
            break;
        }
        case PUBLISH: publish_by = optarg; break;
        case PUBLISHERS: publisher_count = atoi(optarg); break;
        case BINARY: binary = 1; break;
        case PUBLISH_PORT: publish_port = atoi(optarg); break;
        case REQUEST: request = optarg; break;
        case BODY: body = optarg; break;
        case BYTES: message_bytes = atoi(optarg); break;
        case SERVER:
            for (char *pid = strtok(optarg, ","); pid && pid_count < 64; pid = strtok(NULL, ",")) pids[pid_count++] = atoi(pid);
            break;
        case MEMBER_HEADERS: headers_file = optarg; break;
        case LABEL: label = optarg; break;
        case SETTLE: settle_seconds = atof(optarg); break;
        default: exit(2);
        }
    if (!port || member_count < 1 || message_bytes < 14 || message_bytes > 4000) fail("--port, --members and --bytes 14 to 4000 are needed");
    if (publisher_count < 1 || publisher_count > MAX_PUBLISHERS) fail("--publishers 1 to %d", MAX_PUBLISHERS);
    if (!publish_port) publish_port = port;
}

int main(int argc, char **argv) {
    read_options(argc, argv);
    int by_socket = !strcmp(publish_by, "ws"), made = 0;
    if (!by_socket) publisher_count = 1;
    int all = member_count + by_socket * publisher_count;
    members = calloc(all + 1, sizeof *members);
    published_at = calloc(MAX_MESSAGES, sizeof *published_at);
    last_latencies = calloc(MAX_MESSAGES, sizeof *last_latencies);
    arrived = calloc(MAX_MESSAGES, sizeof *arrived);
    if (headers_file) read_member_headers(headers_file, all);
    snprintf(run_id, sizeof run_id, "%08x", (uint32_t)(time(NULL) * 2654435761u ^ getpid()));
    epoll = epoll_create1(0);
    if (by_socket) publishers = &members[member_count];
    else http = &members[all];
    long before_kb, after_kb;
    double cpu = server_use(&before_kb), began = now(), gained_at = began;
    for (int seen = 0; taking_part + failed + publishing < all;) {
        while (made < all && connecting < AT_ONCE) connecting++, open_connection(&members[made], made, port), made++;
        turn(now() + 0.05);
        if (seen != taking_part) seen = taking_part, gained_at = now();
        if (failed > 100 || now() - gained_at > PATIENCE_SECONDS) break;
    }
    double wall = now() - began, used = server_use(&after_kb) - cpu;
    if (http) open_connection(http, all, publish_port);
    for (double until = now() + settle_seconds; now() < until;) turn(until);
    server_use(&after_kb);
    printf("{\"label\": \"%s\", \"phase\": \"connect\", \"members\": %d, \"taking_part\": %d, \"failed\": %d, \"seconds\": %.3f, \"server_cpu_seconds\": %.2f, "
           "\"handshakes_per_second\": %.0f, \"handshakes_per_cpu_second\": %.0f, \"resident_before_kb\": %ld, \"kb_per_connection\": %.2f}\n",
           label, member_count, taking_part, failed, wall, used, taking_part / wall, used > 0 ? taking_part / used : 0, before_kb,
           taking_part ? (double)(after_kb - before_kb) / taking_part : 0);
    fflush(stdout);
    if (taking_part + publishing < all) return 1;
    for (int i = optind; i < argc; i++) run_phase(argv[i]);
    over = 1;
    return 0;
}
