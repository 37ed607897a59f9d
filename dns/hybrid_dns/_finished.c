/*
 * The compiled form of `hybrid_dns.finished`: finished replies by their whole question, counts of replies, and a drain
 * of a UDP socket that reads and writes up to BATCH datagrams with one system call each (recvmmsg(2), sendmmsg(2)).
 *
 * It decides nothing of its own: what is not known, not plain, or over a limit is handed to Python as it came.
 * tests/dns/test_finished.py holds both forms against each other. Both tables are hashed with SipHash-1-3 (Aumasson,
 * Bernstein 2012) under a key by chance, so that nobody outside can make names meet; counts keep the 64 bits of the hash
 * in place of the name. All runs under the interpreter's lock: no call here blocks.
 */
#define _GNU_SOURCE
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

enum { MIN_KEY = 8, MAX_KEY = 320, MAX_REPLY = 512, MAX_QUERY = 4096, HEADER = 12, HEAD = 10, UNPRIVILEGED = 1024 };
enum { BATCH = 64, ROUNDS = 4, FIRST_SLOTS = 1024, MAX_COUNTS = 1 << 24, MAX_NETWORK = 64 };
enum { MAX_ARENA = 256 * 1024 * 1024 };

/* ---- SipHash-1-3 ---- */

typedef struct {
    uint64_t k0, k1;
} Key;

static inline uint64_t turned(uint64_t x, int by)
{
    return (x << by) | (x >> (64 - by));
}

#define ROUND                                                                                                          \
    do {                                                                                                               \
        v0 += v1; v1 = turned(v1, 13) ^ v0; v0 = turned(v0, 32);                                                       \
        v2 += v3; v3 = turned(v3, 16) ^ v2;                                                                            \
        v0 += v3; v3 = turned(v3, 21) ^ v0;                                                                            \
        v2 += v1; v1 = turned(v1, 17) ^ v2; v2 = turned(v2, 32);                                                       \
    } while (0)

static uint64_t hash_of(const Key *key, const unsigned char *data, size_t size)
{
    uint64_t v0 = key->k0 ^ 0x736f6d6570736575u, v1 = key->k1 ^ 0x646f72616e646f6du;
    uint64_t v2 = key->k0 ^ 0x6c7967656e657261u, v3 = key->k1 ^ 0x7465646279746573u;
    uint64_t word, last = (uint64_t)size << 56;
    for (; size >= 8; data += 8, size -= 8) {
        memcpy(&word, data, 8);
        v3 ^= word;
        ROUND;
        v0 ^= word;
    }
    for (size_t i = 0; i < size; i++)
        last |= (uint64_t)data[i] << (8 * i);
    v3 ^= last;
    ROUND;
    v0 ^= last;
    v2 ^= 0xff;
    ROUND;
    ROUND;
    ROUND;
    return v0 ^ v1 ^ v2 ^ v3;
}

/* A key by chance. False with an exception where there is none. */
static int make_key(Key *key)
{
    if (getrandom(key, sizeof *key, 0) == (ssize_t)sizeof *key)
        return 1;
    PyErr_SetFromErrno(PyExc_OSError);
    return 0;
}

/* ---- Counts ---- */

typedef struct {
    uint64_t hash;
    uint32_t round, count; /* of another round: nothing is here */
} Count;

typedef struct {
    PyObject_HEAD
    Key key;
    uint32_t round;
    size_t mask, used, size;
    Count *slots;
} Counts;

static PyTypeObject *counts_type;

/* Where `hash` is, or would be: never more than half of the slots are used, so the way ends. */
static Count *count_at(const Counts *self, uint64_t hash)
{
    size_t at = (size_t)hash & self->mask;
    while (self->slots[at].round == self->round && self->slots[at].hash != hash)
        at = (at + 1) & self->mask;
    return &self->slots[at];
}

static uint32_t count_in(const Counts *self, const Count *slot)
{
    return slot->round == self->round ? slot->count : 0;
}

static void count_more(Counts *self, Count *slot, uint64_t hash)
{
    if (slot->round != self->round) {
        *slot = (Count){hash, self->round, 0};
        self->used++;
    }
    if (slot->count < UINT32_MAX)
        slot->count++;
}

/* Of `network` and `kind`; the network ends with a byte that no text of one has. */
static uint64_t count_hash(const Counts *self, const char *network, size_t length, const void *kind, size_t size)
{
    unsigned char both[MAX_NETWORK + 1 + MAX_REPLY];
    memcpy(both, network, length);
    both[length] = 0xff;
    if (size)
        memcpy(both + length + 1, kind, size);
    return hash_of(&self->key, both, length + 1 + size);
}

static int passes(Counts *self, const char *network, size_t length, const void *kind, size_t size, long same, long answers)
{
    uint64_t all_hash = count_hash(self, network, length, NULL, 0), hash = count_hash(self, network, length, kind, size);
    Count *all = count_at(self, all_hash), *one = count_at(self, hash);
    if ((long)count_in(self, one) >= same || (long)count_in(self, all) >= answers || self->used + 2 > self->size)
        return 0;
    count_more(self, all, all_hash);
    count_more(self, count_at(self, hash), hash); /* again: the first may have taken its slot */
    return 1;
}

static PyObject *counts_new(PyTypeObject *type, PyObject *args, PyObject *names)
{
    static char *words[] = {"size", NULL};
    Py_ssize_t size, slots = 16;
    Key key;
    if (!PyArg_ParseTupleAndKeywords(args, names, "n", words, &size) || !make_key(&key))
        return NULL;
    if (size < 0 || size > MAX_COUNTS)
        return PyErr_Format(PyExc_ValueError, "0 to %d networks and kinds", MAX_COUNTS);
    while (slots < size * 2)
        slots *= 2;
    Counts *self = (Counts *)PyType_GenericAlloc(type, 0);
    if (self == NULL)
        return NULL;
    self->key = key;
    self->round = 1;
    self->mask = (size_t)slots - 1;
    self->size = (size_t)size;
    self->slots = calloc((size_t)slots, sizeof(Count));
    if (self->slots == NULL) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    return (PyObject *)self;
}

static void counts_dealloc(Counts *self)
{
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    free(self->slots);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static Py_ssize_t counts_len(Counts *self)
{
    return (Py_ssize_t)self->used;
}

static PyObject *counts_clear(Counts *self, PyObject *none)
{
    self->used = 0;
    if (++self->round == 0) { /* four thousand million later: those of the first round would be back */
        memset(self->slots, 0, (self->mask + 1) * sizeof(Count));
        self->round = 1;
    }
    Py_RETURN_NONE;
}

static int read_kind(PyObject *args, const char *format, const char **network, Py_ssize_t *length, const char **kind,
                     Py_ssize_t *size, long *same, long *answers)
{
    if (!PyArg_ParseTuple(args, format, network, length, kind, size, same, answers))
        return 0;
    if (*length > MAX_NETWORK || *size > MAX_REPLY) {
        PyErr_SetString(PyExc_ValueError, "the name of the network or kind is too long");
        return 0;
    }
    return 1;
}

static PyObject *counts_add(Counts *self, PyObject *args)
{
    const char *network, *kind;
    Py_ssize_t length, size;
    if (!read_kind(args, "s#y#", &network, &length, &kind, &size, NULL, NULL))
        return NULL;
    uint64_t hash = count_hash(self, network, (size_t)length, kind, (size_t)size);
    Count *slot = count_at(self, hash);
    if (slot->round != self->round && self->used >= self->size)
        return PyLong_FromLong(1);
    count_more(self, slot, hash);
    return PyLong_FromUnsignedLong(slot->count);
}

static PyObject *counts_passes(Counts *self, PyObject *args)
{
    const char *network, *kind;
    Py_ssize_t length, size;
    long same, answers;
    if (!read_kind(args, "s#y#ll", &network, &length, &kind, &size, &same, &answers))
        return NULL;
    return PyBool_FromLong(passes(self, network, (size_t)length, kind, (size_t)size, same, answers));
}

/* ---- Replies ---- */

typedef struct {
    uint64_t hash;
    uint32_t at; /* in the arena: key, both heads, tail */
    uint16_t key, end, tail;
    uint16_t used;
} Entry;

typedef struct {
    PyObject_HEAD
    Key key;
    size_t mask, used;
    Entry *slots;
    unsigned char *arena;
    size_t arena_used, arena_size;
} Replies;

static Entry *entry_at(const Replies *self, uint64_t hash, const unsigned char *key, size_t size)
{
    size_t at = (size_t)hash & self->mask;
    for (;; at = (at + 1) & self->mask) {
        Entry *entry = &self->slots[at];
        if (!entry->used || (entry->hash == hash && entry->key == size && !memcmp(self->arena + entry->at, key, size)))
            return entry;
    }
}

static PyObject *replies_new(PyTypeObject *type, PyObject *args, PyObject *names)
{
    static char *words[] = {NULL};
    Key key;
    if (!PyArg_ParseTupleAndKeywords(args, names, "", words) || !make_key(&key))
        return NULL;
    Replies *self = (Replies *)PyType_GenericAlloc(type, 0);
    if (self == NULL)
        return NULL;
    self->key = key;
    self->mask = FIRST_SLOTS - 1;
    self->slots = calloc(FIRST_SLOTS, sizeof(Entry));
    if (self->slots == NULL) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    return (PyObject *)self;
}

static void replies_dealloc(Replies *self)
{
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    free(self->slots);
    free(self->arena);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static Py_ssize_t replies_len(Replies *self)
{
    return (Py_ssize_t)self->used;
}

static void forget(Replies *self)
{
    memset(self->slots, 0, (self->mask + 1) * sizeof(Entry));
    self->used = self->arena_used = 0;
}

static PyObject *replies_clear(Replies *self, PyObject *none)
{
    forget(self);
    Py_RETURN_NONE;
}

/* Twice as many slots. False where there is no memory; then all is as before. */
static int widen(Replies *self)
{
    size_t slots = (self->mask + 1) * 2;
    Entry *wider = calloc(slots, sizeof(Entry));
    if (wider == NULL)
        return 0;
    for (size_t i = 0; i <= self->mask; i++)
        if (self->slots[i].used) {
            size_t at = (size_t)self->slots[i].hash & (slots - 1);
            while (wider[at].used)
                at = (at + 1) & (slots - 1);
            wider[at] = self->slots[i];
        }
    free(self->slots);
    self->slots = wider;
    self->mask = slots - 1;
    return 1;
}

/* Room for `size` more bytes in the arena. False where there is no memory. */
static int stretch(Replies *self, size_t size)
{
    if (self->arena_used + size <= self->arena_size)
        return 1;
    size_t wanted = self->arena_size ? self->arena_size * 2 : 64 * 1024;
    unsigned char *larger = realloc(self->arena, wanted);
    if (larger == NULL)
        return 0;
    self->arena = larger;
    self->arena_size = wanted; /* `size` is at most a few hundred: doubling once is enough */
    return 1;
}

static PyObject *replies_put(Replies *self, PyObject *args)
{
    const unsigned char *key, *plain, *recursive, *tail;
    Py_ssize_t key_size, plain_size, recursive_size, end, tail_size;
    if (!PyArg_ParseTuple(args, "y#(y#y#)ny#", &key, &key_size, &plain, &plain_size, &recursive, &recursive_size, &end,
                          &tail, &tail_size))
        return NULL;
    if (plain_size != HEAD || recursive_size != HEAD)
        return PyErr_Format(PyExc_ValueError, "a head has %d bytes", HEAD);
    if (key_size < MIN_KEY || key_size > MAX_KEY || end < HEADER || end > key_size + 4 || tail_size > MAX_REPLY - end)
        Py_RETURN_NONE;
    size_t size = (size_t)(key_size + 2 * HEAD + tail_size);
    if (self->arena_used + size > MAX_ARENA)
        forget(self);
    if ((self->used * 2 > self->mask && !widen(self)) || !stretch(self, size))
        return PyErr_NoMemory();
    uint64_t hash = hash_of(&self->key, key, (size_t)key_size);
    Entry *entry = entry_at(self, hash, key, (size_t)key_size);
    int fits = entry->used && entry->tail == tail_size; /* said again, as it mostly is: in its place */
    size_t at = fits ? entry->at : self->arena_used;
    unsigned char *p = self->arena + at;
    memcpy(p, key, (size_t)key_size);
    memcpy(p + key_size, plain, HEAD);
    memcpy(p + key_size + HEAD, recursive, HEAD);
    memcpy(p + key_size + 2 * HEAD, tail, (size_t)tail_size);
    self->arena_used += fits ? 0 : size;
    self->used += !entry->used;
    *entry = (Entry){hash, (uint32_t)at, (uint16_t)key_size, (uint16_t)end, (uint16_t)tail_size, 1};
    Py_RETURN_NONE;
}

/* The entry for the `size` bytes of `query`, whose key is put into `key`; NULL where there is none. */
static const Entry *find(const Replies *self, const unsigned char *query, size_t size, unsigned char *key)
{
    if (size < MIN_KEY + 4 || size > MAX_KEY + 4 || query[2] > 1)
        return NULL;
    for (size_t i = 4; i < size; i++) {
        unsigned char c = query[i];
        key[i - 4] = (unsigned char)(c + ((unsigned char)(c - 'A') < 26 ? 32 : 0));
    }
    const Entry *entry = entry_at(self, hash_of(&self->key, key, size - 4), key, size - 4);
    return entry->used ? entry : NULL;
}

/* The reply to `query`, which `entry` was found for, into MAX_REPLY bytes at `out`; how many they are. */
static size_t write_reply(const Replies *self, const Entry *entry, const unsigned char *query, unsigned char *out)
{
    const unsigned char *heads = self->arena + entry->at + entry->key;
    memcpy(out, query, 2);
    memcpy(out + 2, heads + HEAD * query[2], HEAD);
    memcpy(out + HEADER, query + HEADER, entry->end - (size_t)HEADER);
    memcpy(out + entry->end, heads + 2 * HEAD, entry->tail);
    return (size_t)entry->end + entry->tail;
}

static PyObject *replies_reply(Replies *self, PyObject *query)
{
    unsigned char key[MAX_KEY], out[MAX_REPLY];
    char *bytes;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(query, &bytes, &size) < 0)
        return NULL;
    const Entry *entry = find(self, (const unsigned char *)bytes, (size_t)size, key);
    if (entry == NULL)
        Py_RETURN_NONE;
    size_t length = write_reply(self, entry, (const unsigned char *)bytes, out);
    return PyBytes_FromStringAndSize((const char *)out, (Py_ssize_t)length);
}

/* ---- the socket ---- */

/* Queries do not begin at like addresses of pages, or all their heads would compete for the same lines of the cache. */
static unsigned char queries[BATCH][MAX_QUERY + 64], answers_out[BATCH][MAX_REPLY];
static struct sockaddr_in places[BATCH];
static struct mmsghdr in[BATCH], out[BATCH];
static struct iovec in_parts[BATCH], out_parts[BATCH];

/* The /24 of `place` as text, without an end; its length. */
static size_t network_of(const struct sockaddr_in *place, char *text)
{
    uint32_t address = ntohl(place->sin_addr.s_addr);
    char *p = text;
    for (int shift = 24; shift >= 8; shift -= 8) {
        unsigned part = address >> shift & 255;
        if (p != text)
            *p++ = '.';
        if (part >= 100)
            *p++ = (char)('0' + part / 100);
        if (part >= 10)
            *p++ = (char)('0' + part / 10 % 10);
        *p++ = (char)('0' + part % 10);
    }
    return (size_t)(p - text);
}

static int leave(PyObject *rest, const unsigned char *query, size_t size, const struct sockaddr_in *place)
{
    char address[INET_ADDRSTRLEN];
    if (inet_ntop(AF_INET, &place->sin_addr, address, sizeof address) == NULL)
        return 0;
    PyObject *left = Py_BuildValue("(y#(si))", query, (Py_ssize_t)size, address, (int)ntohs(place->sin_port));
    int failed = left == NULL || PyList_Append(rest, left) < 0;
    Py_XDECREF(left);
    return !failed;
}

static int receive(int fd)
{
    for (int i = 0; i < BATCH; i++) {
        in_parts[i] = (struct iovec){queries[i], MAX_QUERY};
        in[i].msg_hdr = (struct msghdr){&places[i], sizeof places[i], &in_parts[i], 1, NULL, 0, 0};
    }
    return recvmmsg(fd, in, BATCH, MSG_DONTWAIT, NULL);
}

/* What cannot be sent now is lost, as datagrams may be. */
static void send_out(int fd, unsigned count)
{
    unsigned sent = 0;
    while (sent < count) {
        int more = sendmmsg(fd, out + sent, count - sent, MSG_DONTWAIT);
        sent += more > 0 ? (unsigned)more : 1;
    }
}

/* Answer `count` datagrams that were received; false with an exception where Python fails. */
static int answer(Replies *self, int fd, int count, Counts *counts, long same, long most, PyObject *rest)
{
    unsigned char key[MAX_KEY];
    char network[MAX_NETWORK];
    unsigned ready = 0;
    int good = 1;
    for (int i = 0; i < count && good; i++) {
        size_t size = in[i].msg_len;
        const struct sockaddr_in *place = &places[i];
        if (in[i].msg_hdr.msg_namelen < sizeof *place || place->sin_family != AF_INET)
            continue;
        const Entry *entry = ntohs(place->sin_port) >= UNPRIVILEGED ? find(self, queries[i], size, key) : NULL;
        if (entry == NULL ||
            (same && !passes(counts, network, network_of(place, network), key, size - 4, same, most))) {
            good = leave(rest, queries[i], size, place);
            continue;
        }
        out_parts[ready] = (struct iovec){answers_out[ready], write_reply(self, entry, queries[i], answers_out[ready])};
        out[ready].msg_hdr =
            (struct msghdr){(void *)&places[i], sizeof places[i], &out_parts[ready], 1, NULL, 0, 0};
        ready++;
    }
    send_out(fd, ready);
    return good;
}

static PyObject *replies_drain(Replies *self, PyObject *args)
{
    PyObject *bound, *counts;
    long same, most;
    if (!PyArg_ParseTuple(args, "OO!ll", &bound, counts_type, &counts, &same, &most))
        return NULL;
    int fd = PyObject_AsFileDescriptor(bound);
    PyObject *rest = fd < 0 ? NULL : PyList_New(0);
    if (rest == NULL)
        return NULL;
    for (int round = 0; round < ROUNDS; round++) {
        int count = receive(fd);
        if (count > 0 && !answer(self, fd, count, (Counts *)counts, same, most, rest)) {
            Py_DECREF(rest);
            return NULL;
        }
        if (count < BATCH || PyList_Size(rest))
            break;
    }
    return rest;
}

/* ---- the module ---- */

static PyMethodDef counts_methods[] = {
    {"clear", (PyCFunction)counts_clear, METH_NOARGS, "See hybrid_dns.finished.Counts."},
    {"add", (PyCFunction)counts_add, METH_VARARGS, "See hybrid_dns.finished.Counts."},
    {"passes", (PyCFunction)counts_passes, METH_VARARGS, "See hybrid_dns.finished.Counts."},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot counts_slots[] = {
    {Py_tp_new, counts_new},         {Py_tp_dealloc, counts_dealloc}, {Py_mp_length, counts_len},
    {Py_tp_methods, counts_methods}, {0, NULL},
};
static PyType_Spec counts_spec = {"hybrid_dns._finished.Counts", sizeof(Counts), 0, Py_TPFLAGS_DEFAULT, counts_slots};

static PyMethodDef replies_methods[] = {
    {"clear", (PyCFunction)replies_clear, METH_NOARGS, "See hybrid_dns.finished.Replies."},
    {"put", (PyCFunction)replies_put, METH_VARARGS, "See hybrid_dns.finished.Replies."},
    {"reply", (PyCFunction)replies_reply, METH_O, "See hybrid_dns.finished.Replies."},
    {"drain", (PyCFunction)replies_drain, METH_VARARGS, "See hybrid_dns.finished.Replies."},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot replies_slots[] = {
    {Py_tp_new, replies_new},         {Py_tp_dealloc, replies_dealloc}, {Py_mp_length, replies_len},
    {Py_tp_methods, replies_methods}, {0, NULL},
};
static PyType_Spec replies_spec = {"hybrid_dns._finished.Replies", sizeof(Replies), 0, Py_TPFLAGS_DEFAULT, replies_slots};

static int fill(PyObject *module)
{
    counts_type = (PyTypeObject *)PyType_FromSpec(&counts_spec);
    if (counts_type == NULL || PyModule_AddType(module, counts_type) < 0)
        return -1;
    PyTypeObject *replies_type = (PyTypeObject *)PyType_FromSpec(&replies_spec);
    if (replies_type == NULL)
        return -1;
    int failed = PyModule_AddType(module, replies_type);
    Py_DECREF(replies_type);
    return failed;
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, fill}, {0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_finished", NULL, 0, NULL, module_slots, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__finished(void)
{
    return PyModuleDef_Init(&module);
}
