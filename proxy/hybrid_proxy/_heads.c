/* The quick parsers of `heads.h` for Python: a tuple, or None where those in Python have to look. */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>
#include "heads.h"

static PyObject *parse_request(PyObject *module, PyObject *data)
{
    char *bytes;
    Py_ssize_t size;
    Request request;
    if (PyBytes_AsStringAndSize(data, &bytes, &size) < 0)
        return NULL;
    int found = read_request(bytes, size, &request);
    if (found < 0)
        return NULL;
    if (found == 0)
        Py_RETURN_NONE;
    PyObject *forwarding = request.forwarding ? request.forwarding : Py_NewRef(Py_None);
    return Py_BuildValue("(y#y#iny#Ly#Ni)", request.method, request.method_len, request.target, request.target_len,
                         request.minor, request.end, request.host.value, request.host.value_len, request.length,
                         request.block, request.block_len, forwarding, request.connection);
}

static PyObject *parse_reply(PyObject *module, PyObject *data)
{
    char *bytes;
    Py_ssize_t size;
    Reply reply;
    if (PyBytes_AsStringAndSize(data, &bytes, &size) < 0)
        return NULL;
    if (!read_reply(bytes, size, &reply))
        Py_RETURN_NONE;
    return Py_BuildValue("(iy#inLy#ii)", reply.status, reply.reason, reply.reason_len, reply.minor, reply.end,
                         reply.length, reply.block, reply.block_len, reply.chunked, reply.connection);
}

static PyMethodDef methods[] = {
    {"parse_request", parse_request, METH_O, "See hybrid_proxy.native."},
    {"parse_reply", parse_reply, METH_O, "See hybrid_proxy.native."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_heads", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__heads(void)
{
    fill_kinds();
    return PyModuleDef_Init(&module);
}
