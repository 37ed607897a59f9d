/*
 * The usual steps of `hybrid_proxy.lean`, compiled: read what a socket has for a protocol, send what a protocol writes,
 * and look which sockets have something. All else (errors, ends, what the kernel does not take at once) is left to
 * `lean.stream` and `lean.reactor`, whose methods are called by name. No state but what Python sees as attributes.
 */
#define _GNU_SOURCE
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>
#include <structmember.h>
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SMALL_BYTES = 8 * 1024, LARGE_BYTES = 256 * 1024, EVENTS = 512 };

#define NAMES(X) X(_broke) X(_do_other) X(_failed) X(_left_over) X(_read_ended) X(_read_much) X(_write_later) \
    X(dataReceived) X(do_read) X(happened)
#define DECLARE(name) static PyObject *s_##name;
NAMES(DECLARE)
static PyObject *core_type;

typedef struct {
    PyObject_HEAD
    PyObject *protocol, *out, *sink;
    long long relayed_bytes;
    int fd, mask, read_bytes;
    char connected, write_closed;
} Core;

static PyMemberDef core_members[] = {
    {"protocol", T_OBJECT, offsetof(Core, protocol), 0, NULL},
    {"_out", T_OBJECT, offsetof(Core, out), 0, NULL},
    {"sink", T_OBJECT, offsetof(Core, sink), 0, NULL},
    {"relayed_bytes", T_LONGLONG, offsetof(Core, relayed_bytes), 0, NULL},
    {"fd", T_INT, offsetof(Core, fd), 0, NULL},
    {"mask", T_INT, offsetof(Core, mask), 0, NULL},
    {"_read_bytes", T_INT, offsetof(Core, read_bytes), 0, NULL},
    {"connected", T_BOOL, offsetof(Core, connected), 0, NULL},
    {"_write_closed", T_BOOL, offsetof(Core, write_closed), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static int core_traverse(Core *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE((PyObject *)self));
    Py_VISIT(self->protocol);
    Py_VISIT(self->out);
    Py_VISIT(self->sink);
    return 0;
}

static int core_clear(Core *self)
{
    Py_CLEAR(self->protocol);
    Py_CLEAR(self->out);
    Py_CLEAR(self->sink);
    return 0;
}

static void core_dealloc(Core *self)
{
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    PyObject_GC_UnTrack(self);
    core_clear(self);
    release(self);
    Py_DECREF((PyObject *)type);
}

static PyObject *call(PyObject *object, PyObject *name)
{
    return PyObject_CallMethodObjArgs(object, name, NULL);
}

static int not_now(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK;
}

/* Whether something waits to be sent, or nothing is sent any more; -1: an exception. */
static int is_held(const Core *self)
{
    if (!self->connected || self->write_closed)
        return 1;
    return self->out == NULL || self->out == Py_None ? 0 : PyObject_IsTrue(self->out);
}

/* Give the kernel what it takes: how many bytes that were, or -1. */
static ssize_t give(const Core *self, const char *bytes, Py_ssize_t size)
{
    ssize_t sent;
    do
        sent = send(self->fd, bytes, (size_t)size, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent < 0 && not_now() ? 0 : sent;
}

static PyObject *leave_over(Core *self, PyObject *data, ssize_t sent)
{
    PyObject *count = PyLong_FromSsize_t(sent);
    PyObject *got = count ? PyObject_CallMethodObjArgs((PyObject *)self, s__left_over, data, count, NULL) : NULL;
    Py_XDECREF(count);
    return got;
}

/* What was read goes to another stream: see `core.CoreInPython.sink`. */
static PyObject *relay(Core *self, Core *sink, const char *bytes, Py_ssize_t size)
{
    self->relayed_bytes += size;
    int held = is_held(sink);
    ssize_t sent = held ? 0 : give(sink, bytes, size);
    if (held < 0)
        return NULL;
    if (sent == size)
        Py_RETURN_NONE;
    PyObject *data = PyBytes_FromStringAndSize(bytes, size), *got = NULL;
    if (data != NULL)
        got = held ? PyObject_CallMethodObjArgs((PyObject *)sink, s__write_later, data, NULL) : leave_over(sink, data, sent);
    Py_XDECREF(data);
    return got;
}

/* There is something to read. */
static PyObject *core_read(Core *self)
{
    char bytes[SMALL_BYTES];
    ssize_t count;
    if (self->protocol == NULL || !self->connected)
        Py_RETURN_NONE;
    if (self->read_bytes != SMALL_BYTES)
        return call((PyObject *)self, s__read_much);
    do
        count = recv(self->fd, bytes, sizeof bytes, 0);
    while (count < 0 && errno == EINTR);
    if (count <= 0) {
        if (count < 0 && not_now())
            Py_RETURN_NONE;
        return call((PyObject *)self, count ? s__broke : s__read_ended);
    }
    if (count == SMALL_BYTES)
        self->read_bytes = LARGE_BYTES;
    if (self->sink != NULL && PyType_IsSubtype(Py_TYPE(self->sink), (PyTypeObject *)core_type)) {
        PyObject *sink = Py_NewRef(self->sink), *got = relay(self, (Core *)sink, bytes, count);
        Py_DECREF(sink);
        return got;
    }
    PyObject *data = PyBytes_FromStringAndSize(bytes, count), *protocol = Py_NewRef(self->protocol);
    PyObject *got = data ? PyObject_CallMethodObjArgs(protocol, s_dataReceived, data, NULL) : NULL;
    Py_XDECREF(data);
    Py_DECREF(protocol);
    return got;
}

static PyObject *core_do_read(Core *self, PyObject *nothing)
{
    Py_INCREF((PyObject *)self);
    PyObject *got = core_read(self);
    Py_DECREF((PyObject *)self);
    return got;
}

/* Send `data` at once if nothing waits before it. */
static PyObject *core_write(Core *self, PyObject *data)
{
    char *bytes;
    Py_ssize_t size;
    if (!PyBytes_Check(data)) {
        PyObject *copy = PyBytes_FromObject(data), *got = copy ? core_write(self, copy) : NULL;
        Py_XDECREF(copy);
        return got;
    }
    int held = is_held(self);
    if (held < 0)
        return NULL;
    if (held)
        return PyObject_CallMethodObjArgs((PyObject *)self, s__write_later, data, NULL);
    if (PyBytes_AsStringAndSize(data, &bytes, &size) < 0)
        return NULL;
    ssize_t sent = size == 0 ? 0 : give(self, bytes, size);
    if (sent == size)
        Py_RETURN_NONE;
    return leave_over(self, data, sent);
}

/* -------------------------------------------------------------------------------------------------- the reactor */

/* An exception of a protocol ends its connection, and no other. */
static int failed(PyObject *reactor, PyObject *stream)
{
    PyObject *type, *value, *traceback;
    if (!PyErr_ExceptionMatches(PyExc_Exception))
        return -1;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback != NULL)
        PyException_SetTraceback(value, traceback);
    PyObject *got = PyObject_CallMethodObjArgs(reactor, s__failed, stream, value, NULL);
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
    Py_XDECREF(got);
    return got == NULL ? -1 : 0;
}

static int happened(PyObject *reactor, PyObject *streams, const struct epoll_event *event)
{
    PyObject *fd = PyLong_FromLong(event->data.fd), *got = NULL;
    PyObject *stream = fd == NULL ? NULL : PyDict_GetItemWithError(streams, fd);
    if (stream == NULL && !PyErr_Occurred()) {
        PyObject *mask = PyLong_FromUnsignedLong(event->events);
        got = mask ? PyObject_CallMethodObjArgs(reactor, s__do_other, fd, mask, NULL) : NULL;
        Py_XDECREF(mask);
    } else if (stream != NULL) {
        Py_INCREF(stream);
        if (event->events != EPOLLIN) {
            PyObject *mask = PyLong_FromUnsignedLong(event->events);
            got = mask ? PyObject_CallMethodObjArgs(stream, s_happened, mask, NULL) : NULL;
            Py_XDECREF(mask);
        } else if (PyType_IsSubtype(Py_TYPE(stream), (PyTypeObject *)core_type))
            got = core_read((Core *)stream);
        else
            got = call(stream, s_do_read);
        int lost = got == NULL && failed(reactor, stream) < 0;
        Py_DECREF(stream);
        Py_DECREF(fd);
        Py_XDECREF(got);
        return lost ? -1 : 0;
    }
    Py_XDECREF(fd);
    Py_XDECREF(got);
    return got == NULL ? -1 : 0;
}

/* poll(reactor, streams, epoll, milliseconds): wait, and tell all that have something. */
static PyObject *poll(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
{
    struct epoll_event events[EVENTS];
    if (count != 4 || !PyDict_Check(arguments[1])) {
        PyErr_SetString(PyExc_TypeError, "poll(reactor, streams, epoll, milliseconds)");
        return NULL;
    }
    long epoll = PyLong_AsLong(arguments[2]), milliseconds = PyLong_AsLong(arguments[3]);
    if (PyErr_Occurred())
        return NULL;
    int found;
    if (milliseconds == 0)
        found = epoll_wait((int)epoll, events, EVENTS, 0);
    else {
        Py_BEGIN_ALLOW_THREADS
        found = epoll_wait((int)epoll, events, EVENTS, (int)milliseconds);
        Py_END_ALLOW_THREADS
    }
    if (found < 0) {
        if (errno != EINTR)
            return PyErr_SetFromErrno(PyExc_OSError);
        if (PyErr_CheckSignals() < 0)
            return NULL;
    }
    for (int i = 0; i < found; i++)
        if (happened(arguments[0], arguments[1], &events[i]) < 0)
            return NULL;
    Py_RETURN_NONE;
}

/* ------------------------------------------------------------------------------------------- new connections */

/* As the socket module says it. */
static PyObject *peer(const struct sockaddr_storage *from)
{
    char text[INET6_ADDRSTRLEN + 1 + 16];
    if (from->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)from;
        if (inet_ntop(AF_INET, &v4->sin_addr, text, sizeof text) != NULL)
            return Py_BuildValue("(si)", text, (int)ntohs(v4->sin_port));
    } else if (from->ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)from;
        if (inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof text) != NULL)
            return Py_BuildValue("(siII)", text, (int)ntohs(v6->sin6_port), (unsigned)ntohl(v6->sin6_flowinfo),
                                 (unsigned)v6->sin6_scope_id);
    }
    errno = EAFNOSUPPORT;
    return PyErr_SetFromErrno(PyExc_OSError);
}

/* accept(listening): the next connection's descriptor, not blocking, and its other end; None: there is none. */
static PyObject *accept_next(PyObject *module, PyObject *argument)
{
    struct sockaddr_storage from;
    socklen_t size = sizeof from;
    long listening = PyLong_AsLong(argument);
    if (listening == -1 && PyErr_Occurred())
        return NULL;
    memset(&from, 0, sizeof from);
    int fd = accept4((int)listening, (struct sockaddr *)&from, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0 && not_now())
        Py_RETURN_NONE;
    if (fd < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    PyObject *where = peer(&from), *made = where ? Py_BuildValue("(iN)", fd, where) : NULL;
    if (made == NULL)
        close(fd);
    return made;
}

/* --------------------------------------------------------------------------------------------------- the module */

static PyMethodDef core_methods[] = {
    {"do_read", (PyCFunction)core_do_read, METH_NOARGS, "There is something to read."},
    {"write", (PyCFunction)core_write, METH_O, "See `ITransport`."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot core_slots[] = {
    {Py_tp_traverse, (void *)core_traverse},
    {Py_tp_clear, (void *)core_clear},
    {Py_tp_dealloc, (void *)core_dealloc},
    {Py_tp_members, core_members},
    {Py_tp_methods, core_methods},
    {0, NULL},
};

static PyType_Spec core_spec = {"hybrid_proxy._lean.Core", sizeof(Core), 0,
                                Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, core_slots};

static PyMethodDef methods[] = {
    {"accept", accept_next, METH_O, "See hybrid_proxy.lean.port."},
    {"poll", (PyCFunction)(void (*)(void))poll, METH_FASTCALL, "See hybrid_proxy.lean.reactor."},
    {NULL, NULL, 0, NULL},
};

static int begin(PyObject *module)
{
#define INTERN(name) \
    if ((s_##name = PyUnicode_InternFromString(#name)) == NULL) \
        return -1;
    NAMES(INTERN)
    core_type = PyType_FromSpec(&core_spec);
    if (core_type == NULL)
        return -1;
    return PyModule_AddObject(module, "Core", Py_NewRef(core_type));
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, (void *)begin}, {0, NULL}};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_lean", NULL, 0, methods, module_slots, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__lean(void)
{
    return PyModuleDef_Init(&module);
}
