/* JSON (RFC 8259) read where it lies: values are stretches of the text, nothing is copied and no memory is taken. */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A value: text [size] from its first to its last character, of a text that json_parse found to be whole. */
struct json {
    const char *text;
    size_t size;
};

enum json_kind { JSON_OBJECT = '{', JSON_ARRAY = '[', JSON_TEXT = '"', JSON_OTHER = 0 }; /* other: numbers, true, ... */
enum json_status { JSON_WHOLE, JSON_BROKEN, JSON_TOO_DEEP };
enum { JSON_MAX_NESTING = 16 }; /* brackets */

/* Finds the value that text [size], which is UTF-8, begins with, spaces before it left out; what follows it is not
 * looked at. Checks all of it: broken where it is no JSON. */
enum json_status json_parse(const char *text, size_t size, struct json *out);

enum json_kind json_kind(struct json value);

/* The members of an object or the elements of an array in order: begin with at 0; false behind the last. name: of the
 * member, still in quotes, a text. */
bool json_next(struct json within, size_t *at, struct json *name, struct json *value);

/* The first member of that name; false where there is none or value is no object. */
bool json_member(struct json object, const char *name, struct json *value);

/* What a text says, in out [size], cut between characters where it is longer, with a NUL behind it. Returns the bytes
 * of all of it. */
size_t json_text(struct json value, char *out, size_t size);

/* A whole number in [0, 2^53], written in digits alone. */
bool json_whole(struct json value, uint64_t *number);

#endif
