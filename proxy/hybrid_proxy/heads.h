/*
 * Heads of HTTP/1.1 as nearly all of them are, parsed in one pass; for `_heads.c` and `_brief.c`.
 *
 * It refuses nothing: whatever is not plainly well-formed, complete and ordinary gives 0, and the Python parsers
 * (`head`, `reply`), which are the definition of what is allowed, look at it. What is accepted here is understood
 * exactly as they understand it; tests/proxy/test_native.py compares the two on any input. No state, no callbacks, no
 * memory but Python's own objects and a block on the stack.
 */
#include <Python.h>
#include <string.h>

enum { MAX_REQUEST = 8 * 1024, MAX_REPLY = 32 * 1024, MAX_FIELDS = 100, MAX_DIGITS = 18, MAX_METHOD = 32 };
enum { TOKEN = 1, VALUE = 2, TARGET = 4, METHOD = 8, DIGIT = 16 };

static unsigned char kinds[256];

static void fill_kinds(void)
{
    for (int c = 0; c < 256; c++) {
        unsigned char kind = 0;
        int letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'), digit = c >= '0' && c <= '9';
        if (letter || digit || (c && c < 128 && strchr("!#$%&'*+-.^_`|~", c)))
            kind |= TOKEN;
        if (c == '\t' || (c >= ' ' && c <= '~') || c >= 128)
            kind |= VALUE;
        if (c == '!' || (c >= '"' && c <= '~' && c != '#'))
            kind |= TARGET;
        if ((c >= 'A' && c <= 'Z') || c == '-')
            kind |= METHOD;
        if (digit)
            kind |= DIGIT;
        kinds[c] = kind;
    }
}

typedef struct {
    const unsigned char *name, *value;
    Py_ssize_t name_len, value_len;
    int underscore;
} Field;

/* The field line at `p`, which ends before `end`. Gives where the next line begins, or NULL. */
static const unsigned char *read_field(const unsigned char *p, const unsigned char *end, Field *field)
{
    const unsigned char *start = p;
    field->underscore = 0;
    for (; p < end && kinds[*p] & TOKEN; p++)
        if (*p == '_')
            field->underscore = 1;
    if (p == start || p == end || *p != ':')
        return NULL;
    field->name = start;
    field->name_len = p - start;
    for (p++; p < end && (*p == ' ' || *p == '\t'); p++)
        ;
    start = p;
    while (p < end && kinds[*p] & VALUE)
        p++;
    if (end - p < 2 || p[0] != '\r' || p[1] != '\n')
        return NULL;
    field->value = start;
    const unsigned char *last = p;
    while (last > start && (last[-1] == ' ' || last[-1] == '\t'))
        last--;
    field->value_len = last - start;
    return p + 2;
}

/* Whether the `len` bytes at `p` are `text` (lower case) but for their case. */
static int same(const unsigned char *p, Py_ssize_t len, const char *text)
{
    if ((Py_ssize_t)strlen(text) != len)
        return 0;
    for (Py_ssize_t i = 0; i < len; i++) {
        unsigned char c = p[i];
        if ((c >= 'A' && c <= 'Z' ? c + 32 : c) != (unsigned char)text[i])
            return 0;
    }
    return 1;
}

static int among(const Field *field, const char *const *names)
{
    for (; *names; names++)
        if (same(field->name, field->name_len, *names))
            return 1;
    return 0;
}

static int begins(const Field *field, const char *text)
{
    Py_ssize_t len = (Py_ssize_t)strlen(text);
    return field->name_len >= len && same(field->name, len, text);
}

/* A length of the body: 0 when it is none that is accepted here. */
static int read_length(const Field *field, long long *length)
{
    if (*length >= 0 || field->value_len < 1 || field->value_len > MAX_DIGITS)
        return 0;
    long long found = 0;
    for (Py_ssize_t i = 0; i < field->value_len; i++) {
        if (!(kinds[field->value[i]] & DIGIT))
            return 0;
        found = found * 10 + (field->value[i] - '0');
    }
    *length = found;
    return 1;
}

enum { UNSAID, CLOSE, KEEP };

static int read_connection(const Field *field, int *connection)
{
    if (*connection != UNSAID)
        return 0;
    if (same(field->value, field->value_len, "close"))
        *connection = CLOSE;
    else if (same(field->value, field->value_len, "keep-alive"))
        *connection = KEEP;
    return *connection != UNSAID;
}

static Py_ssize_t append(char *block, Py_ssize_t at, const Field *field)
{
    memcpy(block + at, field->name, field->name_len);
    at += field->name_len;
    block[at++] = ':';
    block[at++] = ' ';
    memcpy(block + at, field->value, field->value_len);
    at += field->value_len;
    block[at++] = '\r';
    block[at++] = '\n';
    return at;
}

static int append_forwarding(PyObject **list, const Field *field)
{
    char name[256];
    if (field->name_len > (Py_ssize_t)sizeof name)
        return 0;
    for (Py_ssize_t i = 0; i < field->name_len; i++) {
        unsigned char c = field->name[i];
        name[i] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
    }
    if (*list == NULL && (*list = PyList_New(0)) == NULL)
        return -1;
    PyObject *pair = Py_BuildValue("(y#y#)", name, field->name_len, field->value, field->value_len);
    if (pair == NULL)
        return -1;
    int failed = PyList_Append(*list, pair);
    Py_DECREF(pair);
    return failed ? -1 : 1;
}

static const char *const request_dropped[] = {
    "keep-alive", "te", "trailer", "proxy", "proxy-connection", "proxy-authorization", "http2-settings", NULL};
static const char *const request_unusual[] = {"transfer-encoding", "expect", "upgrade", NULL};
static const char *const request_forwarding[] = {"via", "forwarded", "x-real-ip", "x-request-id", NULL};

typedef struct {
    const unsigned char *method, *target;
    Py_ssize_t method_len, target_len, end;
    Field host;
    long long length;
    int minor, hosts, connection;
    Py_ssize_t block_len;
    PyObject *forwarding;
    /* A list of pairs, of whoever reads it; or NULL. */
    char block[MAX_REQUEST + 2 * MAX_FIELDS + 16];
} Request;

/* 1: taken, 0: not for us, -1: an exception. The first letter spares most comparisons. */
static int take_request_field(Request *request, const Field *field)
{
    switch (field->name[0] | 32) {
    case 'h':
        if (same(field->name, field->name_len, "host")) {
            request->host = *field;
            return ++request->hosts == 1;
        }
        break;
    case 'c':
        if (same(field->name, field->name_len, "content-length"))
            return read_length(field, &request->length);
        if (same(field->name, field->name_len, "connection"))
            return read_connection(field, &request->connection);
        break;
    case 't': case 'e': case 'u':
        if (among(field, request_unusual))
            return 0;
        break;
    case 'v': case 'f': case 'x':
        if (among(field, request_forwarding) || begins(field, "x-forwarded-") || begins(field, "x-hybrid-"))
            return append_forwarding(&request->forwarding, field);
        break;
    }
    switch (field->name[0] | 32) {
    case 'k': case 't': case 'p': case 'h':
        if (among(field, request_dropped))
            return 1;
    }
    if (!field->underscore)
        request->block_len = append(request->block, request->block_len, field);
    return 1;
}

/* The request line; gives where it ends, or NULL. */
static const unsigned char *read_request_line(const unsigned char *p, const unsigned char *end, Py_ssize_t *method_len,
                                              const unsigned char **target, Py_ssize_t *target_len, int *minor)
{
    const unsigned char *start = p;
    while (p < end && kinds[*p] & METHOD)
        p++;
    *method_len = p - start;
    if (*method_len < 1 || *method_len > MAX_METHOD || *start == '-' || p == end || *p != ' ')
        return NULL;
    if ((*method_len == 7 && !memcmp(start, "CONNECT", 7)) || (*method_len == 5 && !memcmp(start, "TRACE", 5)))
        return NULL;
    *target = ++p;
    while (p < end && kinds[*p] & TARGET)
        p++;
    *target_len = p - *target;
    if (*target_len < 1 || **target != '/' || end - p < 11 || memcmp(p, " HTTP/1.", 8) || (p[8] != '0' && p[8] != '1') ||
        p[9] != '\r' || p[10] != '\n')
        return NULL;
    *minor = p[8] - '0';
    return p + 11;
}

/* The request at the start of `bytes`. 1: read, 0: not for us, -1: an exception. Only if read, `forwarding` is owned. */
static int read_request(const char *bytes, Py_ssize_t size, Request *request)
{
    Py_ssize_t fields = 0;
    const unsigned char *start = (const unsigned char *)bytes, *end = start + (size < MAX_REQUEST ? size : MAX_REQUEST);
    const unsigned char *p = read_request_line(start, end, &request->method_len, &request->target, &request->target_len,
                                               &request->minor);
    request->method = start;
    request->length = -1;
    request->hosts = request->connection = 0;
    request->block_len = 0;
    request->forwarding = NULL;
    int taken = p != NULL;
    while (taken > 0 && !(end - p >= 2 && p[0] == '\r' && p[1] == '\n')) {
        Field field;
        if (++fields > MAX_FIELDS || (p = read_field(p, end, &field)) == NULL)
            taken = 0;
        else
            taken = take_request_field(request, &field);
    }
    if (taken > 0 && request->hosts != 1)
        taken = 0;
    if (taken <= 0) {
        Py_CLEAR(request->forwarding);
        return taken;
    }
    request->end = p + 2 - start;
    return 1;
}

static const char *const reply_dropped[] = {
    "keep-alive", "te", "trailer", "proxy-authenticate", "proxy-connection", "proxy-authorization", NULL};

typedef struct {
    const unsigned char *reason;
    Py_ssize_t reason_len, end;
    long long length;
    int status, minor, chunked, connection;
    int strict;
    /* It says Strict-Transport-Security. */
    Py_ssize_t block_len;
    char block[MAX_REPLY + 2 * MAX_FIELDS + 16];
} Reply;

static int take_reply_field(Reply *reply, const Field *field, int minor)
{
    switch (field->name[0] | 32) {
    case 'c':
        if (same(field->name, field->name_len, "content-length"))
            return !reply->chunked && read_length(field, &reply->length);
        if (same(field->name, field->name_len, "connection"))
            return read_connection(field, &reply->connection);
        break;
    case 't':
        if (same(field->name, field->name_len, "transfer-encoding")) {
            if (reply->chunked || reply->length >= 0 || minor == 0 || !same(field->value, field->value_len, "chunked"))
                return 0;
            return reply->chunked = 1;
        }
        break;
    case 'u':
        if (same(field->name, field->name_len, "upgrade"))
            return 0;
        break;
    case 's':
        if (same(field->name, field->name_len, "strict-transport-security"))
            reply->strict = 1;
        break;
    case 'x':
        if (begins(field, "x-hybrid-"))
            return 0;
        break;
    }
    switch (field->name[0] | 32) {
    case 'k': case 't': case 'p':
        if (among(field, reply_dropped))
            return 1;
    }
    reply->block_len = append(reply->block, reply->block_len, field);
    return 1;
}

/* The response head at the start of `bytes`. 1: read, 0: not for us. */
static int read_reply(const char *bytes, Py_ssize_t size, Reply *reply)
{
    Py_ssize_t fields = 0;
    const unsigned char *start = (const unsigned char *)bytes, *end = start + (size < MAX_REPLY ? size : MAX_REPLY);
    if (end - start < 15 || memcmp(start, "HTTP/1.", 7) || (start[7] != '0' && start[7] != '1') || start[8] != ' ' ||
        start[9] < '1' || start[9] > '9' || !(kinds[start[10]] & DIGIT) || !(kinds[start[11]] & DIGIT))
        return 0;
    reply->minor = start[7] - '0';
    reply->status = (start[9] - '0') * 100 + (start[10] - '0') * 10 + (start[11] - '0');
    const unsigned char *p = start + 12;
    reply->reason = p;
    if (*p == ' ') {
        reply->reason = ++p;
        while (p < end && kinds[*p] & VALUE)
            p++;
    }
    reply->reason_len = p - reply->reason;
    if (end - p < 2 || p[0] != '\r' || p[1] != '\n')
        return 0;
    p += 2;
    reply->length = -1;
    reply->chunked = reply->connection = reply->strict = 0;
    reply->block_len = 0;
    while (!(end - p >= 2 && p[0] == '\r' && p[1] == '\n')) {
        Field field;
        if (++fields > MAX_FIELDS || (p = read_field(p, end, &field)) == NULL ||
            !take_reply_field(reply, &field, reply->minor))
            return 0;
    }
    reply->end = p + 2 - start;
    return 1;
}
