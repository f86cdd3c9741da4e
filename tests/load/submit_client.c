/* A load client that takes little of the machine it shares with the cluster: submits messages at an even pace, and judges every answer.
 *
 * It opens a connection per line of a file, lets each enter its group, then submits in an open loop: when each message is due is
 * fixed beforehand, and latency counts from there, so that neither a slow answer nor a late client hides. What is due within a
 * millisecond is written together. Connections take turns.
 *
 * submit_client --edges HOST:PORT[,HOST:PORT...] --connections FILE --rate PER_SECOND --seconds S [options]
 *   FILE: a line `token group_id [edge]` per connection; without the number of an edge they are dealt out in turn
 *   --bytes 200          size of a text, 64 to 4000
 *   --seed 1             of the ids of messages
 *   --pace 500           connections opened per second
 *   --delivery inline    what the connections ask for: whole blocks, or `notify`: heads only, and then blocks are not judged
 *   --settle 60          seconds after the sending until all is answered and delivered, at most 60
 * Writes `sending`, `sent` and one JSON object to standard output, a line each.
 * 0: every promise was kept; 1: a fault, named in the JSON; 2: nothing can be said (bad options, not all could enter).
 *
 * Judged: one ACK or reject per submission, at the connection that submitted, with its request id, in the epoch of the group; no seq
 * for two messages and no message at two seqs; the seqs of one connection rise as it submitted; nothing stored that was refused for
 * good; and on every connection each message up to the highest ACKed seq of its group, once, in order, with its own text.
 * Not judged, not done: it does not pull, so that a hole stays one until a later frame fills it; it does not reconnect, so that a
 * connection that ends is a fault; it sends nothing again; who the sender of a message is, and the history, it does not look at.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "client_socket.h"

#define MAX_MESSAGES 4000000
#define MAX_EDGES 64
#define MAX_CODES 32
#define MAX_TEXT_BYTES 4000
#define MAX_GAP 1000000
#define READ_BYTES 1048576
#define EVENTS_AT_ONCE 64
#define TOGETHER_SECONDS 0.001
#define LINGER_SECONDS 0.3
#define MAX_ATTEMPTS 10
#define PATIENCE_SECONDS 30.0
#define UUID_BYTES 36
#define UNAVAILABLE 18 /* from here to INTERNAL, 20, a refusal does not say that nothing was stored */
#define INTERNAL 20

enum state { WAITING, OPENING, UPGRADING, ENTERING, IN, GONE };
enum fate { UNSENT, IN_FLIGHT, ACKED, REJECTED };

struct group {
    char *id;
    int id_bytes, connections;
    uint32_t epoch;
    uint64_t base, acked_to;
    uint32_t *at;               /* by seq - base - 1: the number of the message, counted from 1 */
    uint64_t room;
};

struct connection {
    int fd, number, edge, attempts;
    enum state state;
    char *token;
    struct group *group;
    double retry_at;
    uint64_t held;              /* it has everything up to here but what is missing */
    uint64_t *missing;
    int missing_count, missing_room;
    char *part;                 /* the beginning of a frame whose rest has not come */
    int part_bytes, part_room;
    char *out;                  /* what was not written yet, or the socket did not take */
    int out_bytes, out_room, is_due;
};

struct message {
    uint64_t seq;
    uint32_t arrived;
    uint8_t fate, code;
};

struct bytes { const unsigned char *at, *end; };

static struct sockaddr_in edges[MAX_EDGES];
static const char *edge_names[MAX_EDGES];
static int edge_count, connection_count, group_count, text_bytes = 200, notify;
static double rate, seconds, pace = 500, settle_seconds = 60, started, ended;
static uint64_t seed = 1;

static struct connection *connections, **queue, **due_ones;
static struct group *groups;
static struct message *messages;
static float *ack_ms, *last_ms, *late_ms;
static uint32_t total, submitted, unsent, acked, acked_in_time, refused, written, fully_arrived, rejected[MAX_CODES];
static uint64_t deliveries, notices, others, frames;
static uint64_t answered_twice, duplicated, misordered, gaps, contradicted, altered, foreign, other_epoch, unreadable, disconnected;
static int epoll, queue_first, queue_count, due_count, taking_part, sending;

/* Counts a fault, and tells of the first ones. */
static void fault(uint64_t *count, const struct connection *connection, const char *what, uint64_t number) {
    static int told;
    ++*count;
    if (told++ < 20) fprintf(stderr, "connection %d, group %s: %s %lu\n", connection->number, connection->group->id, what, number);
}

static void *more(void *of, size_t bytes) {
    void *got = realloc(of, bytes);
    if (!got) fail("no memory for %zu bytes", bytes);
    return got;
}

static void *zeroed(size_t count, size_t bytes) {
    void *got = calloc(count ? count : 1, bytes);
    if (!got) fail("no memory for %zu times %zu bytes", count, bytes);
    return got;
}

/* Names of messages ---------------------------------------------------------------------------------------------------------- */

/* An id looks random, as a client's does, for an index of the database feels the difference; yet the number can be read from it:
 * its last 48 bits are the number under a permutation, the others a hash of it. */
#define LOW48 ((UINT64_C(1) << 48) - 1)
static uint64_t factor, inverse;

static uint64_t hash(uint64_t of) {
    of += UINT64_C(0x9e3779b97f4a7c15);
    of = (of ^ of >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    of = (of ^ of >> 27) * UINT64_C(0x94d049bb133111eb);
    return of ^ of >> 31;
}

static void choose_permutation(void) {
    factor = hash(seed) | 1;
    inverse = factor; /* right in 3 bits; each step doubles them */
    for (int i = 0; i < 5; i++) inverse *= 2 - factor * inverse;
}

static uint64_t permuted(uint64_t number) {
    number = (number + 1) * factor & LOW48;
    number ^= number >> 24;
    return number * factor & LOW48;
}

static uint64_t number_before(uint64_t permuted) {
    permuted = permuted * inverse & LOW48;
    permuted ^= permuted >> 24;
    return (permuted * inverse & LOW48) - 1;
}

static void put_hex(char *to, uint64_t value, int digits) {
    for (int i = digits - 1; i >= 0; i--, value >>= 4) to[i] = "0123456789abcdef"[value & 15];
}

/* A UUID of version 4 in its 36 characters, without an end. */
static void write_id(char *to, uint32_t number) {
    uint64_t first = hash(seed ^ hash(number)), second = hash(first);
    put_hex(to, first, 8);
    put_hex(to + 9, first >> 32, 4);
    put_hex(to + 14, 0x4000 | (first >> 48 & 0xfff), 4);
    put_hex(to + 19, 0x8000 | (second & 0x3fff), 4);
    put_hex(to + 24, permuted(number), 12);
    to[8] = to[13] = to[18] = to[23] = '-';
}

/* The number of the message of this run that has this id; -1: none has it. */
static int64_t number_of(struct bytes id) {
    char known[UUID_BYTES];
    uint64_t value = 0;
    if (id.end - id.at != UUID_BYTES) return -1;
    for (int i = 24; i < UUID_BYTES; i++) {
        int digit = id.at[i] <= '9' ? id.at[i] - '0' : id.at[i] - 'a' + 10;
        if (digit < 0 || digit > 15) return -1;
        value = value << 4 | digit;
    }
    uint64_t number = number_before(value);
    if (number >= total || messages[number].fate == UNSENT) return -1;
    write_id(known, number);
    return memcmp(known, id.at, UUID_BYTES) ? -1 : (int64_t)number;
}

/* The text of a message: whose it is, and padding. The buffer is good until the next call. */
static const char *text_of(uint32_t number) {
    static char text[MAX_TEXT_BYTES];
    static int made;
    if (!made) {
        made = 1;
        memset(text, 'x', sizeof text);
        memcpy(text, "throng-submit ", 14);
        put_hex(text + 14, seed, 16);
        text[30] = text[39] = ' ';
    }
    put_hex(text + 31, number, 8);
    return text;
}

static struct connection *submits(uint32_t number) {
    return &connections[number % connection_count];
}

static double due(uint32_t number) {
    return started + number / rate;
}

/* Reading protobuf ----------------------------------------------------------------------------------------------------------- */

static int take_varint(struct bytes *from, uint64_t *value) {
    *value = 0;
    for (int shift = 0; shift < 64 && from->at < from->end; shift += 7) {
        *value |= (uint64_t)(*from->at & 127) << shift;
        if (*from->at++ < 128) return 1;
    }
    return 0;
}

/* The next field: its number, and its value or its bytes; 0 at the end, -1 when it cannot be read. */
static int take_field(struct bytes *from, uint64_t *value, struct bytes *body) {
    uint64_t key, length;
    *value = 0;
    *body = (struct bytes){from->at, from->at};
    if (from->at >= from->end) return 0;
    if (!take_varint(from, &key)) return -1;
    switch (key & 7) {
    case 0: return take_varint(from, value) ? (int)(key >> 3) : -1;
    case 1: length = 8; break;
    case 2:
        if (!take_varint(from, &length)) return -1;
        break;
    case 5: length = 4; break;
    default: return -1;
    }
    if ((uint64_t)(from->end - from->at) < length) return -1;
    *body = (struct bytes){from->at, from->at + length};
    from->at += length;
    return (int)(key >> 3);
}

static int same(struct bytes one, const char *other, int length) {
    return one.end - one.at == length && !memcmp(one.at, other, length);
}

/* Writing -------------------------------------------------------------------------------------------------------------------- */

static char *put_varint(char *to, uint64_t value) {
    for (; value > 127; value >>= 7) *to++ = (char)(value | 128);
    *to++ = (char)value;
    return to;
}

static int varint_bytes(uint64_t value) {
    int bytes = 1;
    for (; value > 127; value >>= 7) bytes++;
    return bytes;
}

static void make_room(struct connection *connection, int bytes) {
    if (connection->out_bytes + bytes <= connection->out_room) return;
    connection->out_room = 2 * (connection->out_bytes + bytes);
    connection->out = more(connection->out, connection->out_room);
}

/* Appends one masked frame to what is to be written. */
static void say(struct connection *connection, int opcode, const char *payload, int length) {
    static uint64_t mask_state = 88172645463325252u;
    mask_state ^= mask_state << 13, mask_state ^= mask_state >> 7, mask_state ^= mask_state << 17;
    make_room(connection, length + MAX_FRAME_HEAD);
    char *to = connection->out + connection->out_bytes, mask[4];
    memcpy(mask, &mask_state, 4);
    to += write_frame_head(to, opcode, length, mask);
    for (int i = 0; i < length; i++) to[i] = payload[i] ^ mask[i & 3];
    connection->out_bytes = (int)(to + length - connection->out);
}

static void write_out(struct connection *connection) {
    if (!connection->out_bytes) return;
    int sent = send(connection->fd, connection->out, connection->out_bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent <= 0) return; /* an error is met again, and told, when the socket is read */
    connection->out_bytes -= sent;
    memmove(connection->out, connection->out + sent, connection->out_bytes);
}

/* ClientFrame{request_id, send{group_id, client_msg_id, text{text}}} */
static void submit(uint32_t number) {
    static char frame[MAX_TEXT_BYTES + 512];
    struct connection *connection = submits(number);
    if (connection->state != IN) {
        unsent++;
        return;
    }
    struct group *group = connection->group;
    int text_field = 1 + varint_bytes(text_bytes) + text_bytes;
    int sent = 2 + group->id_bytes + 2 + UUID_BYTES + 1 + varint_bytes(text_field) + text_field;
    char *to = frame;
    *to++ = 1 << 3, to = put_varint(to, (uint64_t)number + 1);
    *to++ = 4 << 3 | 2, to = put_varint(to, sent);
    *to++ = 1 << 3 | 2, *to++ = (char)group->id_bytes;
    memcpy(to, group->id, group->id_bytes), to += group->id_bytes;
    *to++ = 2 << 3 | 2, *to++ = UUID_BYTES;
    write_id(to, number), to += UUID_BYTES;
    *to++ = 3 << 3 | 2, to = put_varint(to, text_field);
    *to++ = 1 << 3 | 2, to = put_varint(to, text_bytes);
    memcpy(to, text_of(number), text_bytes), to += text_bytes;
    say(connection, 2, frame, (int)(to - frame));
    messages[number].fate = IN_FLIGHT;
    submitted++;
    if (!connection->is_due) connection->is_due = 1, due_ones[due_count++] = connection;
}

/* Submits what is due; returns the number of the next message. */
static uint32_t submit_due(uint32_t next) {
    uint32_t first = next;
    for (double at = now(); next < total && due(next) <= at; next++) submit(next);
    for (int i = 0; i < due_count; i++) due_ones[i]->is_due = 0, write_out(due_ones[i]);
    due_count = 0;
    double at = now();
    for (; first < next; first++) late_ms[written++] = (float)((at - due(first)) * 1000);
    return next;
}

/* Judging -------------------------------------------------------------------------------------------------------------------- */

/* Message `number` has this seq: no other one may, and it may have no other. */
static void place(struct connection *connection, uint32_t number, uint64_t seq) {
    struct group *group = connection->group;
    uint64_t index = seq - group->base - 1;
    if (seq <= group->base || index >= MAX_MESSAGES) {
        fault(&contradicted, connection, "a message of this run cannot have the seq", seq);
        return;
    }
    if (index >= group->room) {
        uint64_t room = 2 * index + 64;
        group->at = more(group->at, room * sizeof *group->at);
        memset(group->at + group->room, 0, (room - group->room) * sizeof *group->at);
        group->room = room;
    }
    if (messages[number].seq && messages[number].seq != seq) fault(&contradicted, connection, "a message has a second seq", seq);
    else if (group->at[index] && group->at[index] != number + 1) fault(&contradicted, connection, "two messages have the seq", seq);
    else messages[number].seq = seq, group->at[index] = number + 1;
}

static void miss(struct connection *connection, uint64_t seq) {
    if (connection->missing_count == connection->missing_room) {
        connection->missing_room = connection->missing_room * 2 + 16;
        connection->missing = more(connection->missing, connection->missing_room * sizeof *connection->missing);
    }
    connection->missing[connection->missing_count++] = seq;
}

static void miss_up_to(struct connection *connection, uint64_t seq) {
    if (seq - connection->held > MAX_GAP) fail("connection %d: a gap from %lu to %lu is too long", connection->number, connection->held, seq);
    while (connection->held < seq) miss(connection, ++connection->held);
}

/* A connection has seq `seq` now; 0: it had it before. */
static int arrive(struct connection *connection, uint64_t seq) {
    if (seq > connection->held) {
        miss_up_to(connection, seq - 1);
        connection->held = seq;
        return 1;
    }
    for (int i = 0; i < connection->missing_count; i++) {
        if (connection->missing[i] != seq) continue;
        connection->missing[i] = connection->missing[--connection->missing_count];
        fault(&misordered, connection, "came later than its successor: seq", seq);
        return 1;
    }
    fault(&duplicated, connection, "came again: seq", seq);
    return 0;
}

/* A message of a block. */
static void take_message(struct connection *connection, struct bytes body, uint64_t expected, double at) {
    struct bytes id = {0, 0}, text = {0, 0}, part;
    uint64_t seq = 0, value;
    int field, is_system = 0;
    while ((field = take_field(&body, &value, &part)) > 0) switch (field) {
        case 1: seq = value; break;
        case 4: id = part; break;
        case 10: text = part; break;
        case 13: is_system = 1; break;
        }
    if (field < 0 || !seq) {
        fault(&unreadable, connection, "a message cannot be read where this seq belongs:", expected);
        return;
    }
    if (seq != expected) fault(&misordered, connection, "a block has in a wrong place the seq", seq);
    int is_new = arrive(connection, seq);
    if (is_system) {
        others += is_new;
        return;
    }
    int64_t number = number_of(id);
    if (number < 0 || submits(number)->group != connection->group) {
        fault(&foreign, connection, "nobody submitted to this group what has the seq", seq);
        return;
    }
    place(connection, number, seq);
    if (take_field(&text, &value, &part) != 1 || !same(part, text_of(number), text_bytes))
        fault(&altered, connection, "is not what was submitted: seq", seq);
    if (!is_new) return;
    deliveries++;
    if (++messages[number].arrived == (uint32_t)connection->group->connections) last_ms[fully_arrived++] = (float)((at - due(number)) * 1000);
}

static void take_block(struct connection *connection, struct bytes body, double at) {
    struct bytes again = body, part, group_id = {0, 0};
    uint64_t epoch = 0, prev_seq = 0, value;
    int field;
    while ((field = take_field(&body, &value, &part)) > 0) switch (field) {
        case 1: group_id = part; break;
        case 2: epoch = value; break;
        case 3: prev_seq = value; break;
        }
    if (field < 0) fault(&unreadable, connection, "a block cannot be read after seq", connection->held);
    else if (!same(group_id, connection->group->id, connection->group->id_bytes)) fault(&foreign, connection, "a block of another group after seq", prev_seq);
    else if (epoch != connection->group->epoch) fault(&other_epoch, connection, "a block is of epoch", epoch);
    else if (connection->state == IN) {
        if (prev_seq > connection->held) fault(&gaps, connection, "a gap before a block after seq", prev_seq), miss_up_to(connection, prev_seq);
        while ((field = take_field(&again, &value, &part)) > 0)
            if (field == 4) take_message(connection, part, ++prev_seq, at);
    }
}

/* An ACK or a reject. */
static void take_answer(struct connection *connection, uint64_t request_id, struct bytes body, int is_ack, double at) {
    struct bytes part, group_id = {0, 0}, id = {0, 0};
    uint64_t third = 0, seq = 0, value; /* third: epoch of an ACK, code of a reject */
    int field;
    while ((field = take_field(&body, &value, &part)) > 0) switch (field) {
        case 1: group_id = part; break;
        case 2: id = part; break;
        case 3: third = value; break;
        case 4: seq = value; break;
        }
    int64_t number = number_of(id);
    if (field < 0) fault(&unreadable, connection, "an answer cannot be read, request", request_id);
    else if (number < 0 || submits(number) != connection || request_id != (uint64_t)number + 1 || !same(group_id, connection->group->id, connection->group->id_bytes))
        fault(&foreign, connection, "an answer to what was not asked here, request", request_id);
    else if (messages[number].fate != IN_FLIGHT) fault(&answered_twice, connection, "answered again: request", request_id);
    else if (!is_ack) {
        messages[number].fate = REJECTED;
        messages[number].code = third < MAX_CODES ? third : 0;
        rejected[messages[number].code]++;
        refused++;
    } else {
        messages[number].fate = ACKED;
        ack_ms[acked++] = (float)((at - due(number)) * 1000);
        acked_in_time += at <= ended;
        if (third != connection->group->epoch) fault(&other_epoch, connection, "an ACK is of epoch", third);
        else place(connection, number, seq);
        if (seq > connection->group->acked_to) connection->group->acked_to = seq;
    }
}

static void leave(struct connection *connection, const char *why);

/* `entered`: from here on the connection takes part. */
static void take_entered(struct connection *connection, struct bytes body) {
    struct bytes part, told = {0, 0}, group_id = {0, 0};
    uint64_t epoch = 0, head = 0, value;
    for (int field; (field = take_field(&body, &value, &part)) > 0;)
        if (field == 1) told = part;
    for (int field; (field = take_field(&told, &value, &part)) > 0;) {
        if (field == 1) group_id = part;
        if (field == 3) epoch = value;
        if (field == 4) head = value;
    }
    struct group *group = connection->group;
    if (connection->state != ENTERING) return;
    if (!epoch || !same(group_id, group->id, group->id_bytes)) {
        leave(connection, "it entered another group, or no epoch");
        return;
    }
    if (!group->epoch) group->epoch = epoch, group->base = group->acked_to = head;
    if (head < group->base) group->base = head;
    if (epoch != group->epoch) fault(&other_epoch, connection, "it entered in epoch", epoch);
    connection->held = head;
    connection->state = IN;
    group->connections++;
    taking_part++;
}

static void take_notice(struct connection *connection, struct bytes body) {
    struct bytes part, group_id = {0, 0};
    uint64_t epoch = 0, head = 0, value;
    for (int field; (field = take_field(&body, &value, &part)) > 0;) {
        if (field == 1) group_id = part;
        if (field == 2) epoch = value;
        if (field == 3) head = value;
    }
    notices++;
    if (!same(group_id, connection->group->id, connection->group->id_bytes)) fault(&foreign, connection, "a notice of another group, of head", head);
    else if (connection->state == IN && epoch != connection->group->epoch) fault(&other_epoch, connection, "a notice is of epoch", epoch);
    else if (notify && connection->state == IN && head > connection->held) connection->held = head;
}

static void take_server_frame(struct connection *connection, struct bytes body, double at) {
    struct bytes part, event = {0, 0};
    uint64_t request_id = 0, value;
    int field, kind = 0;
    while ((field = take_field(&body, &value, &part)) > 0) {
        if (field == 1) request_id = value;
        else kind = field, event = part;
    }
    if (field < 0) fault(&unreadable, connection, "a frame cannot be read, request", request_id);
    else switch (kind) {
        case 3: take_entered(connection, event); break;
        case 4: case 5: take_answer(connection, request_id, event, kind == 4, at); break;
        case 6: take_notice(connection, event); break;
        case 7: take_block(connection, event, at); break;
        case 15:
            if (connection->state == ENTERING) leave(connection, "it could not enter");
            break;
        }
}

/* Connections ---------------------------------------------------------------------------------------------------------------- */

static void leave(struct connection *connection, const char *why) {
    static int told;
    if (connection->state == GONE) return;
    if (told++ < 10) fprintf(stderr, "connection %d to %s ended: %s\n", connection->number, edge_names[connection->edge], why);
    close(connection->fd);
    if (connection->state == IN) {
        connection->state = GONE;
        taking_part--;
        disconnected++;
        if (!sending) fail("a connection ended before the sending");
        return;
    }
    if (++connection->attempts == MAX_ATTEMPTS) fail("connection %d did not enter in %d attempts", connection->number, MAX_ATTEMPTS);
    connection->state = WAITING;
    connection->out_bytes = connection->part_bytes = 0;
    connection->retry_at = now() + 1;
    queue[(queue_first + queue_count++) % connection_count] = connection;
}

static void take_frame(struct connection *connection, int first, const char *payload, int length, double at) {
    if (first & 0x70) fail("a compressed frame came, and none was asked for");
    switch (first & 15) {
    case 9:
        say(connection, 10, payload, length);
        write_out(connection);
        break;
    case 8: leave(connection, "close frame"); break;
    case 10: break;
    case 2:
        if (!(first & 0x80)) fail("a message in several frames came");
        frames++;
        take_server_frame(connection, (struct bytes){(const unsigned char *)payload, (const unsigned char *)payload + length}, at);
        break;
    default: fail("a frame of opcode %d came", first & 15);
    }
}

/* Takes whole frames out of the bytes; returns how many bytes they had. */
static int take_frames(struct connection *connection, const char *bytes, int length, double at) {
    int used = 0, size;
    struct frame frame;
    while (connection->state >= ENTERING && connection->state != GONE && (size = read_frame(bytes + used, length - used, &frame))) {
        used += size;
        take_frame(connection, frame.first, frame.payload, frame.length, at);
    }
    return used;
}

/* The answer to an upgrade; returns how many bytes it had, 0 while it is not whole. */
static int take_upgrade(struct connection *connection, const char *bytes, int length) {
    char why[80];
    int used = read_upgrade(bytes, length, why, sizeof why);
    if (used < 0) {
        leave(connection, why);
        return length;
    }
    if (used) connection->state = ENTERING;
    return used;
}

static void keep_part(struct connection *connection, const char *bytes, int length) {
    if (length > connection->part_room) connection->part = more(connection->part, connection->part_room = length * 2 + 512);
    memmove(connection->part, bytes, length);
    connection->part_bytes = length;
}

/* Reads what is there, and up to the end where the peer has ended: of an end that is passed over no event tells again. */
static void receive(struct connection *connection, int has_ended) {
    static char buffer[2 * READ_BYTES + 1];
    while (connection->state > OPENING && connection->state != GONE) {
        int kept = connection->part_bytes, used = 0;
        if (kept > READ_BYTES) fail("connection %d: a frame is too long", connection->number);
        ssize_t count = recv(connection->fd, buffer + kept, READ_BYTES, MSG_DONTWAIT);
        if (count < 0 && errno == EAGAIN) return;
        if (count <= 0) {
            leave(connection, count ? strerror(errno) : "end of stream");
            return;
        }
        double at = now();
        if (kept) memcpy(buffer, connection->part, kept);
        connection->part_bytes = 0;
        int length = kept + count;
        buffer[length] = 0;
        if (connection->state == UPGRADING) used = take_upgrade(connection, buffer, length);
        if (connection->state >= ENTERING) used += take_frames(connection, buffer + used, length - used, at);
        if (connection->state > OPENING && connection->state != GONE && used < length) keep_part(connection, buffer + used, length - used);
        if (count < READ_BYTES && !has_ended) return;
    }
}

static void upgrade(struct connection *connection) {
    make_room(connection, 8192);
    connection->out_bytes = snprintf(connection->out, 8192,
        "GET /ws?groups=%s&delivery=%s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: throng.v1.protobuf\r\nAuthorization: Bearer %s\r\n\r\n",
        connection->group->id, notify ? "notify" : "inline", edge_names[connection->edge], connection->token);
    if (connection->out_bytes >= 8192) fail("connection %d: the token is too long", connection->number);
    connection->state = UPGRADING;
}

static void serve(struct connection *connection, uint32_t events) {
    if (connection->state == GONE || connection->state == WAITING) return;
    if (connection->state == OPENING) {
        int error = socket_error(connection->fd);
        if (error) {
            leave(connection, strerror(error));
            return;
        }
        if (!(events & EPOLLOUT)) return;
        upgrade(connection);
    }
    if (events & EPOLLOUT) write_out(connection);
    int has_ended = (events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP)) != 0;
    if (has_ended || events & EPOLLIN) receive(connection, has_ended);
}

/* Waits for events until then at the latest, and serves those that are there. */
static void turn(double until) {
    struct epoll_event events[EVENTS_AT_ONCE];
    int count = wait_events(epoll, events, EVENTS_AT_ONCE, until);
    for (int i = 0; i < count; i++) serve(events[i].data.ptr, events[i].events);
}

static void open_connection(struct connection *connection) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
    if (fd < 0) fail("a socket cannot be made: %s (see ulimit -n)", strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    connection->fd = fd;
    connection->state = OPENING;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = connection};
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    if (connect(fd, (void *)&edges[connection->edge], sizeof *edges) && errno != EINPROGRESS) leave(connection, strerror(errno));
}

/* The run -------------------------------------------------------------------------------------------------------------------- */

static void connect_all(void) {
    double began = now(), gained_at = began;
    int opened = 0, seen = 0;
    while (taking_part < connection_count) {
        double at = now();
        for (; queue_count && queue[queue_first]->retry_at <= at && opened < (at - began) * pace + 1; opened++) {
            struct connection *next = queue[queue_first];
            queue_first = (queue_first + 1) % connection_count, queue_count--;
            open_connection(next);
        }
        turn(at + 0.005);
        if (seen != taking_part) seen = taking_part, gained_at = now();
        if (now() - gained_at > PATIENCE_SECONDS) fail("%d of %d connections entered, and no more did", taking_part, connection_count);
    }
}

static void send_all(void) {
    sending = 1;
    started = now() + 0.05;
    ended = started + seconds;
    for (uint32_t next = 0; next < total;) {
        double write_at = due(next) + TOGETHER_SECONDS;
        if (now() >= write_at) next = submit_due(next), turn(0);
        else turn(write_at);
    }
    while (now() < ended) turn(ended);
}

static int is_settled(void) {
    if (!taking_part) return 1;
    if (acked + refused < submitted) return 0;
    for (int i = 0; i < connection_count; i++) {
        const struct connection *one = &connections[i];
        if (one->state == IN && (one->missing_count || one->held < one->group->acked_to)) return 0;
    }
    return 1;
}

static void settle(void) {
    double until = now() + settle_seconds;
    while (now() < until && !is_settled()) turn(now() + 0.02 < until ? now() + 0.02 : until);
    for (until = now() + LINGER_SECONDS; now() < until && taking_part;) turn(until); /* something may come that should not */
}

/* What connections lack that was ACKed, those that were cut included. */
static uint64_t count_missing(void) {
    uint64_t missing = 0;
    for (int i = 0; i < connection_count; i++) {
        const struct connection *one = &connections[i];
        missing += one->missing_count;
        if (one->group->acked_to > one->held) missing += one->group->acked_to - one->held;
    }
    return missing;
}

/* Messages of one connection whose seq is not above that of the one before. */
static uint64_t count_overtaken(void) {
    uint64_t overtaken = 0;
    for (int i = 0; i < connection_count; i++) {
        uint64_t before = 0;
        for (uint32_t number = i; number < total; number += connection_count) {
            if (!messages[number].seq) continue;
            if (messages[number].seq <= before) fault(&overtaken, &connections[i], "overtook what was submitted before it: seq", before);
            before = messages[number].seq;
        }
    }
    return overtaken;
}

static uint64_t count_refused_yet_stored(void) {
    uint64_t found = 0;
    for (uint32_t number = 0; number < total; number++) {
        const struct message *one = &messages[number];
        if (one->fate == REJECTED && one->seq && (one->code < UNAVAILABLE || one->code > INTERNAL))
            fault(&found, submits(number), "was refused and has the seq", one->seq);
    }
    return found;
}

static int compare(const void *left, const void *right) {
    float a = *(const float *)left, b = *(const float *)right;
    return (a > b) - (a < b);
}

static double percentile(const float *sorted, uint32_t count, double share) {
    return count ? sorted[(uint32_t)((count - 1) * share + 0.5)] : 0;
}

static int report(double cpu_seconds) {
    struct { const char *name; uint64_t count; } faults[] = {
        {"unanswered", submitted - acked - refused}, {"answered_twice", answered_twice}, {"missing", count_missing()}, {"duplicated", duplicated},
        {"misordered", misordered}, {"gaps", gaps}, {"contradicted", contradicted}, {"overtaken", count_overtaken()},
        {"refused_yet_stored", count_refused_yet_stored()}, {"altered", altered}, {"foreign", foreign}, {"other_epoch", other_epoch},
        {"unreadable", unreadable}, {"disconnected", disconnected}, {"unsent", unsent}};
    uint64_t all = 0;
    qsort(ack_ms, acked, sizeof *ack_ms, compare);
    qsort(last_ms, fully_arrived, sizeof *last_ms, compare);
    qsort(late_ms, written, sizeof *late_ms, compare);
    printf("{\"connections\": %d, \"groups\": %d, \"seconds\": %.3f, \"submitted\": %u, \"acked_in_time\": %u, \"acked\": %u, \"rejected\": {",
           connection_count, group_count, seconds, submitted, acked_in_time, acked);
    for (int code = 0, first = 1; code < MAX_CODES; code++)
        if (rejected[code]) printf("%s\"%d\": %u", first ? "" : ", ", code, rejected[code]), first = 0;
    printf("}, \"deliveries\": %lu, \"notices\": %lu, \"others\": %lu, \"faults\": {", deliveries, notices, others);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        printf("%s\"%s\": %lu", i ? ", " : "", faults[i].name, faults[i].count), all += faults[i].count;
    printf("}, \"ack_p50_ms\": %.3f, \"ack_p90_ms\": %.3f, \"ack_p99_ms\": %.3f, \"ack_max_ms\": %.3f, ", percentile(ack_ms, acked, 0.5),
           percentile(ack_ms, acked, 0.9), percentile(ack_ms, acked, 0.99), percentile(ack_ms, acked, 1));
    printf("\"last_p50_ms\": %.3f, \"last_p99_ms\": %.3f, \"last_max_ms\": %.3f, ", percentile(last_ms, fully_arrived, 0.5),
           percentile(last_ms, fully_arrived, 0.99), percentile(last_ms, fully_arrived, 1));
    printf("\"late_p99_ms\": %.3f, \"late_max_ms\": %.3f, \"cpu_seconds\": %.3f}\n", percentile(late_ms, written, 0.99),
           percentile(late_ms, written, 1), cpu_seconds);
    return all > 0;
}

/* Options -------------------------------------------------------------------------------------------------------------------- */

static void read_edges(char *list) {
    for (char *one = strtok(list, ","); one; one = strtok(NULL, ",")) {
        char address[64], *colon = strrchr(one, ':');
        if (edge_count == MAX_EDGES) fail("at most %d edges", MAX_EDGES);
        struct sockaddr_in *edge = &edges[edge_count];
        edge->sin_family = AF_INET;
        if (!colon || colon - one >= (int)sizeof address || !atoi(colon + 1)) fail("%s is no host:port", one);
        snprintf(address, sizeof address, "%.*s", (int)(colon - one), one);
        if (inet_pton(AF_INET, address, &edge->sin_addr) != 1) fail("%s is no address", address);
        if (ntohl(edge->sin_addr.s_addr) >> 24 != 127) fail("%s is not this machine, and a load is sent nowhere else", address);
        edge->sin_port = htons(atoi(colon + 1));
        edge_names[edge_count++] = one;
    }
}

static struct group *group_named(const char *id) {
    for (int i = 0; i < group_count; i++)
        if (!strcmp(groups[i].id, id)) return &groups[i];
    struct group *group = &groups[group_count++];
    if (strlen(id) > 64) fail("the id of a group has at most 64 characters: %s", id);
    group->id = strdup(id);
    group->id_bytes = (int)strlen(id);
    return group;
}

static void read_connections(const char *name) {
    char token[4097], group_id[129], line[4400];
    int lines = 0;
    FILE *file = fopen(name, "r");
    if (!file) fail("%s cannot be read", name);
    while (fgets(line, sizeof line, file)) lines++;
    rewind(file);
    connections = zeroed(lines, sizeof *connections);
    groups = zeroed(lines, sizeof *groups);
    queue = zeroed(lines, sizeof *queue);
    due_ones = zeroed(lines, sizeof *due_ones);
    while (connection_count < lines && fgets(line, sizeof line, file)) {
        struct connection *one = &connections[connection_count];
        int edge = connection_count;
        if (sscanf(line, "%4096s %128s %d", token, group_id, &edge) < 2) fail("%s, line %d: token group_id [edge]", name, connection_count + 1);
        one->number = connection_count;
        one->edge = (unsigned)edge % edge_count;
        one->token = strdup(token);
        one->group = group_named(group_id);
        queue[connection_count++] = one;
    }
    queue_count = connection_count;
    fclose(file);
}

static void read_options(int argc, char **argv) {
    enum { EDGES = 1, CONNECTIONS, RATE, SECONDS, BYTES, SEED, PACE, DELIVERY, SETTLE };
    static const struct option known[] = {
        {"edges", 1, 0, EDGES}, {"connections", 1, 0, CONNECTIONS}, {"rate", 1, 0, RATE}, {"seconds", 1, 0, SECONDS}, {"bytes", 1, 0, BYTES},
        {"seed", 1, 0, SEED}, {"pace", 1, 0, PACE}, {"delivery", 1, 0, DELIVERY}, {"settle", 1, 0, SETTLE}, {0, 0, 0, 0}};
    const char *file = NULL;
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) > 0;) switch (option) {
        case EDGES: read_edges(optarg); break;
        case CONNECTIONS: file = optarg; break;
        case RATE: rate = atof(optarg); break;
        case SECONDS: seconds = atof(optarg); break;
        case BYTES: text_bytes = atoi(optarg); break;
        case SEED: seed = strtoull(optarg, NULL, 10); break;
        case PACE: pace = atof(optarg); break;
        case DELIVERY:
            notify = !strcmp(optarg, "notify");
            if (!notify && strcmp(optarg, "inline")) fail("--delivery inline or notify");
            break;
        case SETTLE: settle_seconds = atof(optarg); break;
        default: exit(2);
        }
    if (optind < argc) fail("what is %s?", argv[optind]);
    if (!edge_count || !file || rate <= 0 || seconds <= 0) fail("--edges, --connections, --rate and --seconds are needed");
    if (text_bytes < 64 || text_bytes > MAX_TEXT_BYTES) fail("--bytes 64 to %d", MAX_TEXT_BYTES);
    if (pace < 1 || settle_seconds < 0 || settle_seconds > 60 || seconds > 3600) fail("--pace 1 or more, --settle 0 to 60, --seconds to 3600");
    if (rate * seconds < 1 || rate * seconds > MAX_MESSAGES) fail("1 to %d messages", MAX_MESSAGES);
    read_connections(file);
    if (!connection_count) fail("%s names no connection", file);
}

int main(int argc, char **argv) {
    read_options(argc, argv);
    total = (uint32_t)(rate * seconds + 0.5);
    messages = zeroed(total, sizeof *messages);
    ack_ms = zeroed(total, sizeof *ack_ms);
    last_ms = zeroed(total, sizeof *last_ms);
    late_ms = zeroed(total, sizeof *late_ms);
    choose_permutation();
    setlinebuf(stdout);
    /* Whatever happens, it ends. */
    alarm((unsigned)(MAX_ATTEMPTS * PATIENCE_SECONDS + 2 * connection_count / pace + seconds + settle_seconds));
    epoll = epoll_create1(0);
    connect_all();
    puts("sending");
    double cpu = own_use();
    send_all();
    cpu = own_use() - cpu;
    puts("sent");
    settle();
    return report(cpu);
}
