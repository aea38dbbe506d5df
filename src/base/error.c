#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void mask_control_characters(char *text) {
    for (unsigned char *c = (unsigned char *)text; *c; c++)
        if (*c < 0x20 || *c == 0x7f) *c = '?';
}

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

bool fail(struct error *err, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    mask_control_characters(err->text);
    if (!is_utf8(err->text, strlen(err->text))) /* bytes of a file, or a name that was cut */
        for (char *c = err->text; *c; c++)
            if (*c & 0x80) *c = '?';
    return false;
}

bool fail_in(struct error *err, const char *prefix) {
    struct error inner = *err;
    return fail(err, "%s: %s", prefix, inner.text);
}
