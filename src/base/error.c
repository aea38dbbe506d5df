#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>

void mask_control_characters(char *text) {
    for (unsigned char *c = (unsigned char *)text; *c; c++)
        if (*c < 0x20 || *c == 0x7f) *c = '?';
}

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
