#include "base/json.h"

#include <string.h>

/* ---- checking: at stands behind what was read, NULL where it is broken ------------------------------------------- */

struct reader {
    const char *end;
    bool too_deep;
};

static const char *skip_space(const char *at, const char *end) {
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r')) at++;
    return at;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The number of \uXXXX, at the first X; -1 where it is none. */
static int hex_4(const char *at, const char *end) {
    int value = 0;
    if (end - at < 4) return -1;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(at[i]);
        if (digit < 0) return -1;
        value = value * 16 + digit;
    }
    return value;
}

static bool is_high_half(int unit) { return unit >= 0xd800 && unit < 0xdc00; }
static bool is_low_half(int unit) { return unit >= 0xdc00 && unit < 0xe000; }

/* The code point of \uXXXX or of a surrogate pair of two, from the backslash on; -1 where it is half of one. */
static int escaped_point(const char *at, const char *end, const char **after) {
    int unit = hex_4(at + 2, end);
    *after = at + 6;
    if (unit < 0 || is_low_half(unit)) return -1;
    if (!is_high_half(unit)) return unit;
    if (end - at < 12 || at[6] != '\\' || at[7] != 'u') return -1;
    int low = hex_4(at + 8, end);
    *after = at + 12;
    return is_low_half(low) ? 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00) : -1;
}

static const char *check_text(const char *at, const char *end) {
    for (at++; at < end && *at != '"';) {
        if ((unsigned char)*at < ' ') return NULL;
        bool simple = *at == '\\' && end - at >= 2 && at[1] && strchr("\"\\/bfnrt", at[1]);
        if (*at != '\\') at++;
        else if (simple) at += 2;
        else if (end - at < 2 || at[1] != 'u' || escaped_point(at, end, &at) < 0) return NULL;
    }
    return at < end ? at + 1 : NULL;
}

static const char *check_digits(const char *at, const char *end) {
    const char *first = at;
    while (at < end && *at >= '0' && *at <= '9') at++;
    return at > first ? at : NULL;
}

static const char *check_number(const char *at, const char *end) {
    if (at < end && *at == '-') at++;
    if (at < end && *at == '0') at++;
    else at = check_digits(at, end);
    if (at && at < end && *at == '.') at = check_digits(at + 1, end);
    if (at && at < end && (*at == 'e' || *at == 'E')) {
        at++;
        if (at < end && (*at == '+' || *at == '-')) at++;
        at = check_digits(at, end);
    }
    return at;
}

static const char *check_word(const char *at, const char *end) {
    static const char *const words[] = {"true", "false", "null"};
    for (int i = 0; i < 3; i++) {
        size_t length = strlen(words[i]);
        if ((size_t)(end - at) >= length && memcmp(at, words[i], length) == 0) return at + length;
    }
    return check_number(at, end);
}

static const char *check_value(struct reader *r, const char *at, int depth);

/* "NAME" : in an object, nothing in an array; then the value. */
static const char *check_item(struct reader *r, const char *at, bool named, int depth) {
    if (named) {
        if (at == r->end || *at != '"' || !(at = check_text(at, r->end))) return NULL;
        at = skip_space(at, r->end);
        if (at == r->end || *at++ != ':') return NULL;
        at = skip_space(at, r->end);
    }
    at = check_value(r, at, depth);
    return at ? skip_space(at, r->end) : NULL;
}

static const char *check_items(struct reader *r, const char *at, int depth) {
    char close = *at == '{' ? '}' : ']';
    if (depth == JSON_MAX_NESTING) {
        r->too_deep = true;
        return NULL;
    }
    at = skip_space(at + 1, r->end);
    if (at < r->end && *at == close) return at + 1;
    while ((at = check_item(r, at, close == '}', depth + 1)) && at < r->end && *at == ',')
        at = skip_space(at + 1, r->end);
    return at && at < r->end && *at == close ? at + 1 : NULL;
}

static const char *check_value(struct reader *r, const char *at, int depth) {
    if (at == r->end) return NULL;
    if (*at == '{' || *at == '[') return check_items(r, at, depth);
    return *at == '"' ? check_text(at, r->end) : check_word(at, r->end);
}

enum json_status json_parse(const char *text, size_t size, struct json *out) {
    struct reader r = {text + size, false};
    const char *first = skip_space(text, r.end), *after = check_value(&r, first, 0);
    *out = (struct json){first, after ? (size_t)(after - first) : 0};
    return after ? JSON_WHOLE : r.too_deep ? JSON_TOO_DEEP : JSON_BROKEN;
}

/* ---- reading what was checked ------------------------------------------------------------------------------------ */

enum json_kind json_kind(struct json value) {
    return value.size && strchr("{[\"", *value.text) ? (enum json_kind) * value.text : JSON_OTHER;
}

static struct json value_at(const char *at, const char *end) {
    struct json value;
    json_parse(at, (size_t)(end - at), &value);
    return value;
}

bool json_next(struct json within, size_t *at, struct json *name, struct json *value) {
    const char *end = within.text + within.size, *next = skip_space(within.text + (*at ? *at : 1), end);
    if (*at && *next == ',') next = skip_space(next + 1, end);
    if (next + 1 == end) return false; /* its last bracket */
    *name = *value = value_at(next, end);
    if (json_kind(within) == JSON_OBJECT)
        *value = value_at(skip_space(name->text + name->size, end) + 1, end); /* behind the colon */
    *at = (size_t)(value->text + value->size - within.text);
    return true;
}

bool json_member(struct json object, const char *wanted, struct json *value) {
    struct json name;
    size_t length = strlen(wanted);
    if (json_kind(object) != JSON_OBJECT) return false;
    for (size_t at = 0; json_next(object, &at, &name, value);) {
        char text[64];
        if (json_text(name, text, sizeof text) == length && strcmp(text, wanted) == 0) return true;
    }
    return false;
}

/* The bytes of a code point in UTF-8; how many. */
static int utf8_of(int point, char bytes[4]) {
    int count = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (int i = count - 1; i > 0; i--, point >>= 6) bytes[i] = (char)(0x80 | (point & 0x3f));
    bytes[0] = (char)(lead[count] | point);
    return count;
}

/* The next character of a text at *at, unescaped, into bytes; how many. */
static int next_character(const char **at, const char *end, char bytes[4]) {
    static const char escapes[] = "bfnrt", meant[] = "\b\f\n\r\t";
    if (**at != '\\') {
        int count = 0;
        do bytes[count++] = *(*at)++;
        while (count < 4 && *at < end && (**at & 0xc0) == 0x80);
        return count;
    }
    char letter = (*at)[1];
    if (letter == 'u') return utf8_of(escaped_point(*at, end, at), bytes);
    const char *found = strchr(escapes, letter);
    bytes[0] = found ? meant[found - escapes] : letter;
    *at += 2;
    return 1;
}

size_t json_text(struct json value, char *out, size_t size) {
    const char *end = value.text + value.size - 1;
    size_t length = 0, kept = 0;
    for (const char *at = value.text + 1; at < end;) {
        char bytes[4];
        size_t count = (size_t)next_character(&at, end, bytes);
        if (kept == length && kept + count < size) {
            memcpy(out + kept, bytes, count);
            kept += count;
        }
        length += count;
    }
    out[kept] = 0;
    return length;
}

bool json_whole(struct json value, uint64_t *number) {
    uint64_t sum = 0;
    for (size_t i = 0; i < value.size; i++) {
        if (value.text[i] < '0' || value.text[i] > '9') return false;
        sum = 10 * sum + (uint64_t)(value.text[i] - '0');
        if (sum > (uint64_t)1 << 53) return false;
    }
    *number = sum;
    return true;
}
