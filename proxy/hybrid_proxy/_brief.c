/*
 * The short way of `hybrid_proxy.brief`, compiled: the same steps on the same objects, which say there what they are
 * for. It decides nothing: what is not plainly as said there gives False, and nothing was done. What is written is put
 * together from what `heads.h` understood, into bytes objects of a size that was summed up before.
 */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>
#include <structmember.h>
#include "heads.h"

#define NAMES(X) \
    X(_ids) X(_latest) X(_origin) X(_receive_early) X(_receive_first) X(_receive_more) X(_receive_reply) \
    X(adds) X(answers) X(ask) X(busy) X(busy_per_site) X(connecting) X(deadlines) X(destination) X(doubts) X(draining) \
    X(ended) X(fresh_s) X(idle) X(idle_s) X(idle_upstreams_per_site) X(journalled) X(limits) X(logging) X(next_origin) \
    X(now_s) X(prepared) X(reply_s) X(retired) X(room) X(routes) X(served) X(shown_for) X(site) X(traffic) \
    X(upstream_idle_s) X(waiting) X(write)

#define DECLARE(name) static PyObject *s_##name;
NAMES(DECLARE)
static PyObject *kind, *one, *own_ask;
static PyTypeObject *flight_type, *client_type, *site_type, *prepared_type;

enum { NO, YES, FAILED = -1 };

/* --------------------------------------------------------------------------------------------------- the objects */

/* What requests for one authority come to: see `brief.Prepared`. */
typedef struct {
    PyObject_HEAD
    PyObject *shelf, *host, *adds, *site, *house, *waiting, *busy, *doubts, *deadlines, *traffic, *logging;
    double reply_s, idle_s, fresh_s, upstream_idle_s;
    Py_ssize_t most_idle, most_busy;
} Prepared;

/* The client's side: see `cores.ClientCore`. */
typedef struct {
    PyObject_HEAD
    PyObject *transport, *house, *door, *receive, *exchange, *buffer;
    double due_s;
    char half_closed, paused;
} Client;

/* The site's side: see `cores.SiteCore`. */
typedef struct {
    PyObject_HEAD
    PyObject *transport, *asker, *buffer, *body;
    double due_s, idle_since_s;
    long requests;
} Site;

/* A request under way: see `brief.Kept`. */
typedef struct {
    PyObject_HEAD
    PyObject *front, *upstream, *prepared, *data, *came_from, *method;
    double began_s;
    int minor;
    char keep_alive;
} Flight;

#define OBJECT(kind, name, member) {name, T_OBJECT, offsetof(kind, member), 0, NULL}
#define FIXED(kind, name, type, member) {name, type, offsetof(kind, member), READONLY, NULL}
#define MUTABLE(kind, name, type, member) {name, type, offsetof(kind, member), 0, NULL}
#define END {NULL, 0, 0, 0, NULL}

static PyMemberDef prepared_members[] = {
    FIXED(Prepared, "shelf", T_OBJECT, shelf), FIXED(Prepared, "host", T_OBJECT, host),
    FIXED(Prepared, "adds", T_OBJECT, adds), FIXED(Prepared, "site", T_OBJECT, site), END};

static PyMemberDef client_members[] = {
    OBJECT(Client, "transport", transport), OBJECT(Client, "_house", house), OBJECT(Client, "_door", door),
    OBJECT(Client, "_receive", receive), OBJECT(Client, "_exchange", exchange), OBJECT(Client, "_buffer", buffer),
    MUTABLE(Client, "due_s", T_DOUBLE, due_s), MUTABLE(Client, "_half_closed", T_BOOL, half_closed),
    MUTABLE(Client, "_paused", T_BOOL, paused), END};

static PyMemberDef site_members[] = {
    OBJECT(Site, "transport", transport), OBJECT(Site, "_asker", asker), OBJECT(Site, "_buffer", buffer),
    OBJECT(Site, "_body", body), MUTABLE(Site, "due_s", T_DOUBLE, due_s),
    MUTABLE(Site, "idle_since_s", T_DOUBLE, idle_since_s), MUTABLE(Site, "requests", T_LONG, requests), END};

static PyMemberDef flight_members[] = {
    FIXED(Flight, "_front", T_OBJECT, front), FIXED(Flight, "_upstream", T_OBJECT, upstream),
    FIXED(Flight, "_prepared", T_OBJECT, prepared), FIXED(Flight, "_data", T_OBJECT, data),
    FIXED(Flight, "_came_from", T_OBJECT, came_from), FIXED(Flight, "_began_s", T_DOUBLE, began_s),
    FIXED(Flight, "method", T_OBJECT, method), FIXED(Flight, "minor", T_INT, minor),
    FIXED(Flight, "keep_alive", T_BOOL, keep_alive), END};

/* What the collector of garbage wants to know of each kind: where its references are, `OBJECTS` of them in a row. */
#define COLLECTED(Kind, name, first, OBJECTS) \
    static int name##_traverse(Kind *self, visitproc visit, void *arg) \
    { \
        Py_VISIT(Py_TYPE((PyObject *)self)); \
        for (int i = 0; i < OBJECTS; i++) \
            Py_VISIT((&self->first)[i]); \
        return 0; \
    } \
    static int name##_clear(Kind *self) \
    { \
        for (int i = 0; i < OBJECTS; i++) \
            Py_CLEAR((&self->first)[i]); \
        return 0; \
    } \
    static void name##_dealloc(Kind *self) \
    { \
        PyTypeObject *type = Py_TYPE((PyObject *)self); \
        freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free); \
        PyObject_GC_UnTrack(self); \
        name##_clear(self); \
        release(self); \
        Py_DECREF((PyObject *)type); \
    }

COLLECTED(Prepared, prepared, shelf, 11)
COLLECTED(Client, client, transport, 6)
COLLECTED(Site, site, transport, 4)
COLLECTED(Flight, flight, front, 6)

static int is(PyObject *object, PyTypeObject *type)
{
    return object != NULL && PyType_IsSubtype(Py_TYPE(object), type);
}

static int is_empty(PyObject *bytes)
{
    return bytes == NULL || bytes == Py_None || (PyBytes_Check(bytes) && PyBytes_Size(bytes) == 0);
}

/* ------------------------------------------------------------------------------------------- reading of attributes */

/* Whether the attribute is true. */
static int is_true(PyObject *object, PyObject *name)
{
    PyObject *value = PyObject_GetAttr(object, name);
    if (value == NULL)
        return FAILED;
    int found = value == Py_False ? NO : value == Py_True ? YES : PyObject_IsTrue(value);
    Py_DECREF(value);
    return found;
}

/* The attribute of an attribute. */
static PyObject *within(PyObject *object, PyObject *first, PyObject *second)
{
    PyObject *between = PyObject_GetAttr(object, first);
    if (between == NULL)
        return NULL;
    PyObject *found = PyObject_GetAttr(between, second);
    Py_DECREF(between);
    return found;
}

static int call_one(PyObject *object, PyObject *name, PyObject *argument)
{
    PyObject *got = PyObject_CallMethodObjArgs(object, name, argument, NULL);
    Py_XDECREF(got);
    return got == NULL ? FAILED : YES;
}

/* The time of the last sweep. */
static int swept(const Prepared *prepared, double *now_s)
{
    PyObject *found = PyObject_GetAttr(prepared->deadlines, s_now_s);
    if (found == NULL)
        return FAILED;
    *now_s = PyFloat_AsDouble(found);
    Py_DECREF(found);
    return *now_s == -1.0 && PyErr_Occurred() ? FAILED : YES;
}

static int now(PyObject *house, double *seconds)
{
    PyObject *found = PyObject_CallMethodObjArgs(house, s_now_s, NULL);
    if (found == NULL)
        return FAILED;
    *seconds = PyFloat_AsDouble(found);
    Py_DECREF(found);
    return *seconds == -1.0 && PyErr_Occurred() ? FAILED : YES;
}

/* ------------------------------------------------------------------------------------------------------ writing */

typedef struct {
    char *at;
    Py_ssize_t left;
} Page;

static void put(Page *page, const void *data, Py_ssize_t size)
{
    if (size > page->left)
        Py_FatalError("brief: a message is longer than was summed up");
    memcpy(page->at, data, (size_t)size);
    page->at += size;
    page->left -= size;
}

static void put_text(Page *page, const char *text)
{
    put(page, text, (Py_ssize_t)strlen(text));
}

static Py_ssize_t digits(char *into, long long number)
{
    char reversed[20];
    Py_ssize_t count = 0;
    do
        reversed[count++] = (char)('0' + number % 10);
    while ((number /= 10) != 0);
    for (Py_ssize_t i = 0; i < count; i++)
        into[i] = reversed[count - 1 - i];
    return count;
}

/* ------------------------------------------------------------------------------------------------------- asking */

/* An ordinary request with nothing to look at twice. */
static int is_brief(const Request *request, Py_ssize_t size)
{
    static const char challenges[] = "/.well-known/";
    Py_ssize_t challenge = (Py_ssize_t)strlen(challenges);
    if (request->end != size || request->length >= 0 || request->forwarding != NULL)
        return NO;
    if (request->target_len >= challenge && !memcmp(request->target, challenges, (size_t)challenge))
        return NO;
    return (request->method_len == 3 && !memcmp(request->method, "GET", 3)) ||
           (request->method_len == 4 && !memcmp(request->method, "HEAD", 4));
}

/* What requests for `authority` come to by this door; NULL without an exception: it is not known. */
static Prepared *find_prepared(PyObject *door, PyObject *authority)
{
    PyObject *table = PyObject_GetAttr(door, s_prepared);
    if (table == NULL)
        return NULL;
    PyObject *prepared = PyDict_Check(table) ? PyDict_GetItemWithError(table, authority) : NULL;
    Py_XINCREF(prepared);
    Py_DECREF(table);
    if (prepared == NULL)
        return NULL;
    PyObject *shown_for = PyObject_GetAttr(door, s_shown_for);
    int same_host = shown_for == NULL || !is(prepared, prepared_type) ? FAILED : (int)PyObject_Length(shown_for);
    if (same_host > 0)
        same_host = PyObject_RichCompareBool(shown_for, ((Prepared *)prepared)->host, Py_EQ);
    else if (same_host == 0)
        same_host = YES;
    Py_XDECREF(shown_for);
    if (same_host <= 0)
        Py_CLEAR(prepared);
    return (Prepared *)prepared;
}

/* An idle connection of the shelf, now a busy one; NULL without an exception: there is none, or the site is in doubt. */
static Site *take_upstream(const Prepared *prepared)
{
    int doubted = PyDict_Size(prepared->doubts) ? PyDict_Contains(prepared->doubts, prepared->site) : NO;
    Py_ssize_t count = doubted == NO ? PyList_Size(prepared->waiting) : 0;
    if (count <= 0)
        return NULL;
    PyObject *upstream = PyList_GetItem(prepared->waiting, count - 1);
    if (!is(upstream, site_type))
        return NULL;
    Py_INCREF(upstream);
    if (PyDict_SetItem(prepared->busy, upstream, Py_None) < 0 ||
        PyList_SetSlice(prepared->waiting, count - 1, count, NULL) < 0)
        Py_CLEAR(upstream);
    return (Site *)upstream;
}

/* See `door.PublicDoor.next_origin`: the usual case, the same authority as before, without a call of it. */
static PyObject *next_origin(PyObject *door, PyObject *authority, int minor)
{
    PyObject *latest = PyObject_GetAttr(door, s__latest);
    if (latest == NULL)
        return NULL;
    int known = NO;
    if (PyTuple_Check(latest) && PyTuple_Size(latest) == 2 && PyLong_AsLong(PyTuple_GetItem(latest, 1)) == minor)
        known = PyObject_RichCompareBool(PyTuple_GetItem(latest, 0), authority, Py_EQ);
    Py_DECREF(latest);
    if (known < 0 || PyErr_Occurred())
        return NULL;
    if (!known) {
        PyObject *number = PyLong_FromLong(minor);
        PyObject *made = number ? PyObject_CallMethodObjArgs(door, s_next_origin, authority, number, NULL) : NULL;
        Py_XDECREF(number);
        return made;
    }
    PyObject *origin = PyObject_GetAttr(door, s__origin), *ids = PyObject_GetAttr(door, s__ids), *made = NULL;
    PyObject *id = origin && ids ? PyIter_Next(ids) : NULL;
    char *first, *second;
    Py_ssize_t first_len, second_len;
    if (id != NULL && PyBytes_AsStringAndSize(origin, &first, &first_len) == 0 &&
        PyBytes_AsStringAndSize(id, &second, &second_len) == 0 &&
        (made = PyBytes_FromStringAndSize(NULL, first_len + second_len + 2)) != NULL) {
        Page page = {PyBytes_AsString(made), first_len + second_len + 2};
        put(&page, first, first_len);
        put(&page, second, second_len);
        put(&page, "\r\n", 2);
    }
    Py_XDECREF(origin);
    Py_XDECREF(ids);
    Py_XDECREF(id);
    return made;
}

/* See `message.request_bytes`. */
static PyObject *written_request(const Request *request, PyObject *came_from)
{
    char *origin;
    Py_ssize_t origin_len;
    if (PyBytes_AsStringAndSize(came_from, &origin, &origin_len) < 0)
        return NULL;
    Py_ssize_t size = request->method_len + request->target_len + request->host.value_len + request->block_len +
                      origin_len + (Py_ssize_t)strlen("  HTTP/1.1\r\nHost: \r\n\r\n");
    PyObject *made = PyBytes_FromStringAndSize(NULL, size);
    if (made == NULL)
        return NULL;
    Page page = {PyBytes_AsString(made), size};
    put(&page, request->method, request->method_len);
    put(&page, " ", 1);
    put(&page, request->target, request->target_len);
    put_text(&page, " HTTP/1.1\r\nHost: ");
    put(&page, request->host.value, request->host.value_len);
    put(&page, "\r\n", 2);
    put(&page, request->block, request->block_len);
    put(&page, origin, origin_len);
    put(&page, "\r\n", 2);
    return made;
}

static Flight *new_flight(Client *front, Site *upstream, Prepared *prepared, PyObject *data, PyObject *came_from,
                          const Request *request)
{
    double began_s;
    if (now(front->house, &began_s) < 0)
        return NULL;
    allocfunc allocate = (allocfunc)PyType_GetSlot((PyTypeObject *)kind, Py_tp_alloc);
    Flight *flight = (Flight *)allocate((PyTypeObject *)kind, 0);
    if (flight == NULL)
        return NULL;
    flight->front = Py_NewRef((PyObject *)front);
    flight->upstream = Py_NewRef((PyObject *)upstream);
    flight->prepared = Py_NewRef((PyObject *)prepared);
    flight->data = Py_NewRef(data);
    flight->came_from = Py_NewRef(came_from);
    flight->began_s = began_s;
    flight->minor = request->minor;
    flight->keep_alive = request->connection == UNSAID ? request->minor == 1 : request->connection == KEEP;
    flight->method = PyBytes_FromStringAndSize((const char *)request->method, request->method_len);
    if (flight->method == NULL) {
        Py_DECREF((PyObject *)flight);
        return NULL;
    }
    return flight;
}

static void become(PyObject **member, PyObject *value)
{
    PyObject *old = *member;
    *member = Py_NewRef(value);
    Py_XDECREF(old);
}

/* See `Upstream.ask`. */
static int hand_over(Site *upstream, Flight *flight, PyObject *written)
{
    become(&upstream->asker, (PyObject *)flight);
    upstream->requests++;
    upstream->due_s = Py_HUGE_VAL;
    return call_one(upstream->transport, s_write, written);
}

static int send_on(Client *front, PyObject *data, PyObject *authority, const Request *request)
{
    double now_s;
    Prepared *prepared = find_prepared(front->door, authority);
    if (prepared == NULL)
        return PyErr_Occurred() ? FAILED : NO;
    PyObject *came_from = NULL, *written = NULL;
    Flight *flight = NULL;
    int sent = FAILED;
    Site *upstream = take_upstream(prepared);
    if (upstream == NULL)
        sent = PyErr_Occurred() ? FAILED : NO;
    else if (swept(prepared, &now_s) > 0 && (came_from = next_origin(front->door, authority, request->minor)) != NULL &&
             (written = written_request(request, came_from)) != NULL &&
             (flight = new_flight(front, upstream, prepared, data, came_from, request)) != NULL) {
        become(&front->exchange, (PyObject *)flight);
        front->due_s = now_s + prepared->reply_s;
        sent = hand_over(upstream, flight, written);
    }
    Py_DECREF((PyObject *)prepared);
    Py_XDECREF((PyObject *)upstream);
    Py_XDECREF(came_from);
    Py_XDECREF(written);
    Py_XDECREF((PyObject *)flight);
    return sent;
}

static int asked(Client *front, PyObject *data)
{
    Request request;
    char *bytes;
    Py_ssize_t size;
    if (front->house == NULL || front->door == NULL || front->half_closed || front->paused)
        return NO;
    if (PyBytes_AsStringAndSize(data, &bytes, &size) < 0)
        return FAILED;
    int found = read_request(bytes, size, &request);
    if (found > 0)
        found = is_brief(&request, size);
    Py_XDECREF(request.forwarding);
    if (found > 0) {
        found = is_true(front->house, s_draining);
        found = found < 0 ? FAILED : !found;
    }
    if (found <= 0)
        return found;
    PyObject *authority = PyBytes_FromStringAndSize((const char *)request.host.value, request.host.value_len);
    int sent = authority == NULL ? FAILED : send_on(front, data, authority, &request);
    Py_XDECREF(authority);
    return sent;
}

static PyObject *ask(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
{
    if (count != 2 || kind == NULL || !is(arguments[0], client_type)) {
        PyErr_SetString(PyExc_TypeError, "ask(client, data), once there is a kind");
        return NULL;
    }
    int sent = asked((Client *)arguments[0], arguments[1]);
    return sent < 0 ? NULL : PyBool_FromLong(sent);
}

/* See `cores.ClientCore`. */
static PyObject *client_received(Client *self, PyObject *data)
{
    if (self->receive != NULL && self->receive != Py_None) {
        PyObject *receive = Py_NewRef(self->receive), *got = PyObject_CallFunctionObjArgs(receive, data, NULL);
        Py_DECREF(receive);
        return got;
    }
    PyObject *next = s__receive_first;
    if (self->exchange != NULL && self->exchange != Py_None)
        next = s__receive_early;
    else if (!is_empty(self->buffer))
        next = s__receive_more;
    else {
        PyObject *way = PyObject_GetAttr(self->house, s_ask);
        int sent = FAILED;
        if (way == own_ask && kind != NULL)
            sent = asked(self, data);
        else if (way != NULL) {
            PyObject *got = PyObject_CallFunctionObjArgs(way, (PyObject *)self, data, NULL);
            sent = got == NULL ? FAILED : PyObject_IsTrue(got);
            Py_XDECREF(got);
        }
        Py_XDECREF(way);
        if (sent < 0)
            return NULL;
        if (sent)
            Py_RETURN_NONE;
    }
    return PyObject_CallMethodObjArgs((PyObject *)self, next, data, NULL);
}

/* ---------------------------------------------------------------------------------------------------- answering */

/* Whether all of the response is in `size` bytes, and the connection is good for another one. */
static int is_whole(const Reply *reply, PyObject *method, Py_ssize_t size)
{
    int bodiless = PyBytes_Size(method) == 4 || reply->status == 204 || reply->status == 304;    /* HEAD */
    if (reply->status < 200 || reply->chunked || size - reply->end != (bodiless ? 0 : reply->length))
        return NO;
    return reply->connection == UNSAID ? reply->minor == 1 : reply->connection == KEEP;
}

/* Whether the client is still as it was when it asked, and nobody else awaits this response. */
static int is_awaited(const Client *front, const Prepared *prepared, const Site *upstream)
{
    if (!is_empty(upstream->buffer) || !is_empty(front->buffer) || front->half_closed || PyDict_Size(prepared->doubts))
        return NO;
    int draining = is_true(front->house, s_draining);
    return draining < 0 ? FAILED : !draining;
}

/* See `message.reply_bytes`; with the body. */
static PyObject *written_reply(const Flight *self, const Reply *reply, const char *data, Py_ssize_t size)
{
    char length[48], *adds;
    const char *connection = !self->keep_alive ? "Connection: close\r\n" : self->minor ? "" : "Connection: keep-alive\r\n";
    Py_ssize_t adds_len, length_len = 0;
    if (PyBytes_AsStringAndSize(((Prepared *)self->prepared)->adds, &adds, &adds_len) < 0)
        return NULL;
    if (reply->strict)
        adds_len = 0;
    if (reply->length >= 0 && reply->status != 204) {
        memcpy(length, "Content-Length: ", 16);
        length_len = 16 + digits(length + 16, reply->length);
        memcpy(length + length_len, "\r\n", 2);
        length_len += 2;
    }
    Py_ssize_t body_len = size - reply->end;
    Py_ssize_t total = 12 + 1 + reply->reason_len + 2 + reply->block_len + adds_len + length_len +
                       (Py_ssize_t)strlen(connection) + 2 + body_len;
    PyObject *made = PyBytes_FromStringAndSize(NULL, total);
    if (made == NULL)
        return NULL;
    char status[3] = {(char)('0' + reply->status / 100), (char)('0' + reply->status / 10 % 10),
                      (char)('0' + reply->status % 10)};
    Page page = {PyBytes_AsString(made), total};
    put(&page, "HTTP/1.1 ", 9);
    put(&page, status, 3);
    put(&page, " ", 1);
    put(&page, reply->reason, reply->reason_len);
    put(&page, "\r\n", 2);
    put(&page, reply->block, reply->block_len);
    put(&page, adds, adds_len);
    put(&page, length, length_len);
    put_text(&page, connection);
    put(&page, "\r\n", 2);
    put(&page, data + reply->end, body_len);
    return made;
}

/* `answers[status // 100] += 1`, of a `Counter`. */
static int count_answer(PyObject *traffic, int status)
{
    PyObject *answers = PyObject_GetAttr(traffic, s_answers), *key = PyLong_FromLong(status / 100), *more = NULL;
    PyObject *count = answers && key ? PyObject_GetItem(answers, key) : NULL;
    int failed = count == NULL || (more = PyNumber_Add(count, one)) == NULL || PyObject_SetItem(answers, key, more) < 0;
    Py_XDECREF(answers);
    Py_XDECREF(key);
    Py_XDECREF(count);
    Py_XDECREF(more);
    return failed ? FAILED : YES;
}

/* One more response of the site, in the counters and its access log. */
static int count_served(Flight *self, const Prepared *prepared, PyObject *house, int status, Py_ssize_t sent)
{
    double now_s;
    PyObject *bytes = PyLong_FromSsize_t(sent), *number = PyLong_FromLong(status), *seconds = NULL;
    int counted = FAILED;
    if (bytes && number && now(house, &now_s) > 0 && (seconds = PyFloat_FromDouble(now_s - self->began_s)) != NULL &&
        count_answer(prepared->traffic, status) > 0) {
        PyObject *got = PyObject_CallMethodObjArgs(prepared->traffic, s_served, prepared->site, bytes, number, seconds, NULL);
        PyObject *logging = got ? PyObject_GetAttr(prepared->logging, s_logging) : NULL;
        PyObject *form = logging ? PyDict_GetItemWithError(logging, prepared->site) : NULL;    /* borrowed */
        counted = logging == NULL || PyErr_Occurred() ? FAILED : YES;
        Py_XDECREF(got);
        if (form != NULL) {
            Py_INCREF(form);
            got = PyObject_CallMethodObjArgs((PyObject *)self, s_journalled, form, number, bytes, seconds, NULL);
            Py_DECREF(form);
            counted = got == NULL ? FAILED : YES;
            Py_XDECREF(got);
        }
        Py_XDECREF(logging);
    }
    Py_XDECREF(bytes);
    Py_XDECREF(number);
    Py_XDECREF(seconds);
    return counted;
}

/* See `pool.Shelf.idle`: the usual case, where nobody waits for room, without a call of it. */
static int put_back(const Prepared *prepared, Site *upstream, double now_s)
{
    int retired = is_true(prepared->shelf, s_retired);
    PyObject *connecting = retired == NO ? PyObject_GetAttr(prepared->shelf, s_connecting) : NULL;
    long opening = connecting == NULL ? 0 : PyLong_AsLong(connecting);
    Py_XDECREF(connecting);
    if (PyErr_Occurred())
        return FAILED;
    if (retired || PyDict_Size(prepared->busy) + opening >= prepared->most_busy)
        return call_one(prepared->shelf, s_idle, (PyObject *)upstream);
    if (PyDict_DelItem(prepared->busy, (PyObject *)upstream) < 0)
        return FAILED;
    int few = PyList_Size(prepared->waiting) < prepared->most_idle;
    upstream->idle_since_s = now_s;
    upstream->due_s = now_s + (few ? prepared->upstream_idle_s : prepared->fresh_s);
    return PyList_Append(prepared->waiting, (PyObject *)upstream) < 0 ? FAILED : YES;
}

static int pass_on(Flight *self, Client *front, Prepared *prepared, Site *upstream, int status, PyObject *written)
{
    double now_s;
    if (swept(prepared, &now_s) < 0)
        return FAILED;
    become(&upstream->asker, Py_None);
    if (put_back(prepared, upstream, now_s) < 0 || call_one(front->transport, s_write, written) < 0 ||
        count_served(self, prepared, front->house, status, PyBytes_Size(written)) < 0)
        return FAILED;
    if (!self->keep_alive)
        return call_one((PyObject *)front, s_ended, Py_False);
    become(&front->exchange, Py_None);
    front->due_s = now_s + prepared->idle_s;
    return YES;
}

static int answered(Flight *self, PyObject *upstream, PyObject *data)
{
    Reply reply;
    char *bytes;
    Py_ssize_t size;
    if (!is(self->front, client_type) || !is(self->prepared, prepared_type) || !is(upstream, site_type)) {
        PyErr_SetString(PyExc_RuntimeError, "it is not under way");
        return FAILED;
    }
    if (PyBytes_AsStringAndSize(data, &bytes, &size) < 0)
        return FAILED;
    if (!read_reply(bytes, size, &reply) || !is_whole(&reply, self->method, size))
        return NO;
    Client *front = (Client *)self->front;
    Prepared *prepared = (Prepared *)self->prepared;
    int passed = is_awaited(front, prepared, (Site *)upstream);
    if (passed <= 0)
        return passed;
    PyObject *written = written_reply(self, &reply, bytes, size);
    if (written == NULL)
        return FAILED;
    Py_INCREF((PyObject *)self);    /* who holds it, may go on to something else meanwhile */
    Py_INCREF((PyObject *)front);
    Py_INCREF((PyObject *)prepared);
    passed = pass_on(self, front, prepared, (Site *)upstream, reply.status, written);
    Py_DECREF((PyObject *)prepared);
    Py_DECREF((PyObject *)front);
    Py_DECREF((PyObject *)self);
    Py_DECREF(written);
    return passed;
}

static PyObject *flight_answer(Flight *self, PyObject *const *arguments, Py_ssize_t count)
{
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "answer(upstream, data)");
        return NULL;
    }
    int passed = answered(self, arguments[0], arguments[1]);
    return passed < 0 ? NULL : PyBool_FromLong(passed);
}

/* See `cores.SiteCore`. */
static PyObject *site_received(Site *self, PyObject *data)
{
    if (is(self->asker, flight_type) && (self->body == NULL || self->body == Py_None)) {
        int passed = answered((Flight *)self->asker, (PyObject *)self, data);
        if (passed < 0)
            return NULL;
        if (passed)
            Py_RETURN_NONE;
    }
    return PyObject_CallMethodObjArgs((PyObject *)self, s__receive_reply, data, NULL);
}

/* ---------------------------------------------------------------------------------------------------- preparing */

static int read_number(PyObject *object, PyObject *name, double *number)
{
    PyObject *found = PyObject_GetAttr(object, name);
    if (found == NULL)
        return FAILED;
    *number = PyFloat_AsDouble(found);
    Py_DECREF(found);
    return *number == -1.0 && PyErr_Occurred() ? FAILED : YES;
}

static int read_limits(Prepared *self, PyObject *limits)
{
    double idle = 0, busy = 0;
    if (limits == NULL || read_number(limits, s_reply_s, &self->reply_s) < 0 ||
        read_number(limits, s_idle_s, &self->idle_s) < 0 || read_number(limits, s_fresh_s, &self->fresh_s) < 0 ||
        read_number(limits, s_upstream_idle_s, &self->upstream_idle_s) < 0 ||
        read_number(limits, s_idle_upstreams_per_site, &idle) < 0 || read_number(limits, s_busy_per_site, &busy) < 0)
        return FAILED;
    self->most_idle = (Py_ssize_t)idle;
    self->most_busy = (Py_ssize_t)busy;
    return YES;
}

/* Prepared(house, shelf, host, adds) */
static PyObject *prepared_new(PyTypeObject *type, PyObject *arguments, PyObject *named)
{
    PyObject *house, *shelf, *host, *adds;
    if (!PyArg_ParseTuple(arguments, "OOUS", &house, &shelf, &host, &adds))
        return NULL;
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Prepared *self = (Prepared *)allocate(type, 0);
    if (self == NULL)
        return NULL;
    self->shelf = Py_NewRef(shelf);
    self->host = Py_NewRef(host);
    self->adds = Py_NewRef(adds);
    self->house = Py_NewRef(house);
    self->site = within(shelf, s_destination, s_site);
    self->waiting = PyObject_GetAttr(shelf, s_waiting);
    self->busy = PyObject_GetAttr(shelf, s_busy);
    self->doubts = within(house, s_room, s_doubts);
    self->deadlines = PyObject_GetAttr(house, s_deadlines);
    self->traffic = PyObject_GetAttr(house, s_traffic);
    self->logging = PyObject_GetAttr(house, s_routes);
    PyObject *limits = PyObject_GetAttr(house, s_limits);
    int read = read_limits(self, limits);
    Py_XDECREF(limits);
    if (read < 0 || !self->site || !self->waiting || !self->busy || !self->doubts || !self->deadlines ||
        !self->traffic || !self->logging) {
        Py_DECREF((PyObject *)self);
        return NULL;
    }
    if (!PyList_Check(self->waiting) || !PyDict_Check(self->busy) || !PyDict_Check(self->doubts)) {
        Py_DECREF((PyObject *)self);
        PyErr_SetString(PyExc_TypeError, "a shelf has a list of those that wait, and a dict of those that are busy");
        return NULL;
    }
    return (PyObject *)self;
}

/* --------------------------------------------------------------------------------------------------- the module */

static PyObject *use(PyObject *module, PyObject *argument)
{
    if (!PyType_Check(argument) || !PyType_IsSubtype((PyTypeObject *)argument, flight_type)) {
        PyErr_SetString(PyExc_TypeError, "use(kind of Flight)");
        return NULL;
    }
    Py_XDECREF(kind);
    kind = Py_NewRef(argument);
    Py_RETURN_NONE;
}

static PyMethodDef flight_methods[] = {
    {"answer", (PyCFunction)(void (*)(void))flight_answer, METH_FASTCALL, "See hybrid_proxy.brief."}, {NULL, NULL, 0, NULL}};
static PyMethodDef client_methods[] = {
    {"dataReceived", (PyCFunction)client_received, METH_O, "See twisted.internet.protocol.Protocol."}, {NULL, NULL, 0, NULL}};
static PyMethodDef site_methods[] = {
    {"dataReceived", (PyCFunction)site_received, METH_O, "See twisted.internet.protocol.Protocol."}, {NULL, NULL, 0, NULL}};

#define KIND(Kind, name, Name, ...) \
    static PyType_Slot name##_slots[] = {{Py_tp_traverse, (void *)name##_traverse}, \
                                         {Py_tp_clear, (void *)name##_clear}, \
                                         {Py_tp_dealloc, (void *)name##_dealloc}, \
                                         {Py_tp_members, name##_members}, \
                                         __VA_ARGS__, \
                                         {0, NULL}}; \
    static PyType_Spec name##_spec = {"hybrid_proxy._brief." Name, sizeof(Kind), 0, \
                                      Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, name##_slots};

KIND(Prepared, prepared, "Prepared", {Py_tp_new, (void *)prepared_new})
KIND(Client, client, "ClientCore", {Py_tp_methods, client_methods})
KIND(Site, site, "SiteCore", {Py_tp_methods, site_methods})
KIND(Flight, flight, "Flight", {Py_tp_methods, flight_methods})

static PyMethodDef methods[] = {
    {"ask", (PyCFunction)(void (*)(void))ask, METH_FASTCALL, "See hybrid_proxy.brief."},
    {"use", use, METH_O, "Let requests under way be of this kind."},
    {NULL, NULL, 0, NULL},
};

static int begin(PyObject *module)
{
    fill_kinds();
#define INTERN(name) \
    if ((s_##name = PyUnicode_InternFromString(#name)) == NULL) \
        return -1;
    NAMES(INTERN)
    struct {
        PyTypeObject **type;
        PyType_Spec *spec;
        const char *name;
    } kinds_made[] = {{&prepared_type, &prepared_spec, "Prepared"},
                      {&client_type, &client_spec, "ClientCore"},
                      {&site_type, &site_spec, "SiteCore"},
                      {&flight_type, &flight_spec, "Flight"}};
    for (size_t i = 0; i < sizeof kinds_made / sizeof kinds_made[0]; i++) {
        PyObject *made = PyType_FromSpec(kinds_made[i].spec);
        if (made == NULL || PyModule_AddObject(module, kinds_made[i].name, Py_NewRef(made)) < 0)
            return -1;
        *kinds_made[i].type = (PyTypeObject *)made;
    }
    one = PyLong_FromLong(1);
    own_ask = PyObject_GetAttrString(module, "ask");
    return one == NULL || own_ask == NULL ? -1 : 0;
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, (void *)begin}, {0, NULL}};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_brief", NULL, 0, methods, module_slots, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__brief(void)
{
    return PyModuleDef_Init(&module);
}
