#include "base/text.h"

#include <ctype.h>
#include <stdarg.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>

#include "base/error.h"

/* How many bytes the character at c takes, of size > 0 that are left; 0: it is none. (RFC 3629, its table of lead
 * bytes.) */
static size_t utf8_length(const unsigned char *c, size_t size) {
    size_t length = *c < 0x80     ? 1
        : *c >= 0xc2 && *c < 0xe0 ? 2
        : (*c & 0xf0) == 0xe0     ? 3
        : *c >= 0xf0 && *c < 0xf5 ? 4
                                  : 0;
    if (length > size) return 0;
    for (size_t i = 1; i < length; i++)
        if ((c[i] & 0xc0) != 0x80) return 0;
    bool overlong = (*c == 0xe0 && c[1] < 0xa0) || (*c == 0xf0 && c[1] < 0x90);
    bool surrogate = *c == 0xed && c[1] > 0x9f, beyond = *c == 0xf4 && c[1] > 0x8f;
    return overlong || surrogate || beyond ? 0 : length;
}

bool is_utf8(const char *text, size_t size) {
    for (size_t at = 0, length; at < size; at += length)
        if (!(length = utf8_length((const unsigned char *)text + at, size - at))) return false;
    return true;
}

/* Whether the character c [length] does something to a terminal other than to appear on it. */
static bool is_control(const unsigned char *c, size_t length) {
    if (length == 1) return *c < 0x20 || *c == 0x7f;
    if (length == 2) return (*c == 0xc2 && c[1] < 0xa0) || (*c == 0xd8 && c[1] == 0x9c); /* C1; U+061C */
    return length == 3 && *c == 0xe2 &&
        ((c[1] == 0x80 && c[2] >= 0xa8 && c[2] <= 0xae) || (c[1] == 0x81 && c[2] >= 0xa6 && c[2] <= 0xa9));
}

void mask_control_characters(char *text) {
    char *to = text;
    for (size_t left = strlen(text), bytes; left; text += bytes, left -= bytes) {
        size_t length = utf8_length((unsigned char *)text, left);
        bytes = length ? length : 1;
        if (!length || is_control((unsigned char *)text, length)) *to++ = '?';
        else to = (char *)memmove(to, text, bytes) + bytes;
    }
    *to = 0;
}

/* ---- errors ------------------------------------------------------------------------------------------------------ */

bool fail(struct error *err, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    mask_control_characters(err->text);
    return false;
}

bool fail_in(struct error *err, const char *prefix) {
    struct error inner = *err;
    return fail(err, "%s: %s", prefix, inner.text);
}

/* ---- lines ------------------------------------------------------------------------------------------------------ */

static size_t next_character(const char *text, size_t at) {
    do at++;
    while ((text[at] & 0xc0) == 0x80);
    return at;
}

size_t text_width(const char *text) {
    size_t width = 0;
    for (size_t at = 0; text[at]; at = next_character(text, at)) width++;
    return width;
}

size_t text_fitting(const char *text, size_t columns) {
    size_t at = 0;
    while (columns-- && text[at]) at = next_character(text, at);
    return at;
}

size_t line_length(const char *text, size_t columns) {
    size_t length = text_fitting(text, columns ? columns : 1), end = length;
    if (!text[length]) return length;
    while (end && text[end] != ' ') end--;
    return end ? end : length;
}

void print_wrapped(FILE *stream, const char *text, int indent, int width) {
    size_t room = width > indent ? (size_t)(width - indent) : 1;
    for (text += strspn(text, " "); *text; text += strspn(text, " ")) {
        size_t length = line_length(text, room);
        fprintf(stream, "%*s%.*s\n", indent, "", (int)length, text);
        text += length;
    }
}

int terminal_width(FILE *stream) {
#ifdef TIOCGWINSZ /* WebAssembly knows no terminals */
    struct winsize size;
    if (ioctl(fileno(stream), TIOCGWINSZ, &size) == 0 && size.ws_col) return size.ws_col;
#else
    (void)stream;
#endif
    return 80;
}

/* ---- mistyped words --------------------------------------------------------------------------------------------- */

static int smaller(int a, int b) { return a < b ? a : b; }

/* How many letters are missing, too many, wrong, or swapped with their neighbour (Damerau 1964, each place once). */
static int edit_distance(const char *a, const char *b) {
    enum { LONGEST = 40 };
    int d[LONGEST + 1][LONGEST + 1], m = (int)strlen(a), n = (int)strlen(b);
    if (m > LONGEST || n > LONGEST) return LONGEST;
    for (int i = 0; i <= m; i++)
        for (int j = 0; j <= n; j++) {
            d[i][j] = i + j; /* where one of the words is empty */
            if (!i || !j) continue;
            bool wrong = tolower((unsigned char)a[i - 1]) != tolower((unsigned char)b[j - 1]);
            d[i][j] = smaller(smaller(d[i - 1][j], d[i][j - 1]) + 1, d[i - 1][j - 1] + wrong);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                d[i][j] = smaller(d[i][j], d[i - 2][j - 2] + 1);
        }
    return d[m][n];
}

/* A beginning of three letters or more is as near as one wrong letter. */
static int distance(const char *typed, const char *name) {
    size_t length = strlen(typed);
    return length >= 3 && strncasecmp(typed, name, length) == 0 ? name[length] != 0 : edit_distance(typed, name);
}

const char *likelier(const char *typed, const char *name, const char *best) {
    int found = distance(typed, name);
    if (3 * found > (int)strlen(name)) return best;
    return best && distance(typed, best) <= found ? best : name;
}
