#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/text.h"

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
