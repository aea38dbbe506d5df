#include "base/text.h"

#include <ctype.h>
#include <stdarg.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>

#include "base/csv.h"

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
    if (length == 4) return *c == 0xf3 && c[1] == 0xa0 && c[2] < 0x82;                   /* tags */
    int low = (c[1] & 0x3f) << 6 | (c[2] & 0x3f);                                        /* of U+2000 and U+F000 */
    bool no_width = low == 0x0b || (low >= 0x60 && low <= 0x64); /* with them two names look alike */
    bool turns = low == 0x0e || low == 0x0f || (low >= 0x28 && low <= 0x2e) || (low >= 0x66 && low <= 0x69);
    return *c == 0xe2 ? no_width || turns : *c == 0xef && (low == 0xeff || (low >= 0xff9 && low <= 0xffb));
}

/* The first character of text as it may be shown, [*length]; text moves behind it. */
static const char *take_character(const char **text, size_t *length) {
    const char *at = *text;
    size_t bytes = utf8_length((const unsigned char *)at, strnlen(at, 4));
    bool masked = !bytes || is_control((const unsigned char *)at, bytes);
    *length = masked ? 1 : bytes;
    *text += bytes ? bytes : 1;
    return masked ? "?" : at;
}

void mask_control_characters(char *text) {
    char *to = text;
    for (const char *from = text; *from;) {
        size_t length;
        const char *character = take_character(&from, &length);
        to = (char *)memmove(to, character, length) + length;
    }
    *to = 0;
}

/* Of text [size] without the beginning of a character at its end. */
static size_t whole_characters(const char *text, size_t size) {
    size_t start = size;
    while (start && size - start < 3 && (text[start - 1] & 0xc0) == 0x80) start--;
    unsigned char lead = start ? (unsigned char)text[start - 1] : 0;
    size_t length = lead < 0xc2 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    return start && size - start + 1 < length ? start - 1 : size;
}

int text_cut(const char *text, size_t limit) {
    size_t size = strnlen(text, limit);
    return (int)(text[size] ? whole_characters(text, size) : size);
}

void text_vformat(char *text, size_t size, const char *format, va_list args) {
    if (vsnprintf(text, size, format, args) >= (int)size) text[whole_characters(text, size - 1)] = 0;
    mask_control_characters(text);
}

void text_format(char *text, size_t size, const char *format, ...) {
    va_list args;
    va_start(args, format);
    text_vformat(text, size, format, args);
    va_end(args);
}

/* ---- text in files ---------------------------------------------------------------------------------------------- */

void text_plain(const char *text, FILE *stream) {
    for (size_t length; *text;) {
        const char *character = take_character(&text, &length);
        fwrite(character, 1, length, stream);
    }
}

/* What stands for the character at a place in text: an escape of CommonMark or GFM where it would begin something, NULL
 * for itself. A * or _ between spaces, and a _ between letters, is plain there. */
static const char *markdown_escape(const char *text, const char *at) {
    char before = at > text ? at[-1] : 0, after = at[1];
    bool within = isalnum((unsigned char)before) && isalnum((unsigned char)after);
    switch (*at) {
    case '<': return isalpha((unsigned char)after) || (after && strchr("/!?", after)) ? "&lt;" : NULL;
    case '&': return isalnum((unsigned char)after) || after == '#' ? "&amp;" : NULL;
    case '|': return "\\|";
    case '`': return "\\`";
    case '\\': return ispunct((unsigned char)after) || !after ? "\\\\" : NULL;
    case '*': return before == ' ' && after == ' ' ? NULL : "\\*";
    case '~': return before == ' ' && after == ' ' ? NULL : "\\~";
    case '_': return within || (before == ' ' && after == ' ') ? NULL : "\\_";
    case ']': return after && strchr(*text == '[' ? "([:" : "([", after) ? "\\]" : NULL;
    case '/': return before == ':' ? "\\/" : NULL; /* https://... is a link by itself */
    case '.': return at - text >= 3 && strncasecmp(at - 3, "www", 3) == 0 ? "\\." : NULL;
    default: return NULL;
    }
}

size_t text_markdown(const char *text, bool in_cell, FILE *stream) {
    size_t width = 0, length;
    for (const char *from = text; *from; width++) {
        const char *escape = markdown_escape(text, from), *character = take_character(&from, &length);
        if (escape && (in_cell || *character != '|')) length = strlen(character = escape), width += length - 1;
        if (stream) fwrite(character, 1, length, stream);
    }
    return width;
}

/* Also in the full width of East Asian fonts, which spreadsheets there take for the same. */
static bool is_formula(const char *text) {
    text += strspn(text, " \"");
    return (*text && strchr("=+-@", *text)) || strncmp(text, "\xef\xbc\x9d", 3) == 0 ||
        strncmp(text, "\xef\xbc\x8b", 3) == 0 || strncmp(text, "\xef\xbc\x8d", 3) == 0 ||
        strncmp(text, "\xef\xbc\xa0", 3) == 0;
}

/* Quotes doubled where they have to be; a ' before a formula behind any of the separators. */
static void write_csv_text(const char *text, bool quoted, const char *separators, FILE *stream) {
    for (size_t length; *text;) {
        const char *character = take_character(&text, &length);
        if (quoted && *character == '"') fputc('"', stream);
        fwrite(character, 1, length, stream);
        if (strchr(separators, *character) && is_formula(text)) fputc('\'', stream);
    }
}

void text_csv(const char *text, bool signs, FILE *stream) {
    bool quoted = strpbrk(text, ",\"#") != NULL; /* '#' begins a comment unless it is quoted */
    bool plain = signs || strcmp(text, "-") == 0 || csv_number(text, &(double){0});
    if (quoted) fputc('"', stream);
    if (!plain && is_formula(text)) fputc('\'', stream);
    write_csv_text(text, quoted, ";", stream);
    if (quoted) fputc('"', stream);
}

void text_csv_comment(const char *text, FILE *stream) { write_csv_text(text, false, ",;", stream); }

void text_html(const char *text, FILE *stream) {
    for (size_t length; *text;) {
        const char *character = take_character(&text, &length);
        switch (*character) {
        case '&': fputs("&amp;", stream); break;
        case '<': fputs("&lt;", stream); break;
        case '>': fputs("&gt;", stream); break;
        case '"': fputs("&quot;", stream); break;
        case '\'': fputs("&#39;", stream); break;
        default: fwrite(character, 1, length, stream);
        }
    }
}

void text_json(const char *text, FILE *stream) {
    fputc('"', stream);
    for (size_t length; *text;) {
        const char *character = take_character(&text, &length);
        if (*character == '"' || *character == '\\') fputc('\\', stream);
        fwrite(character, 1, length, stream);
    }
    fputc('"', stream);
}

/* ---- errors ------------------------------------------------------------------------------------------------------ */

bool fail(struct error *err, const char *format, ...) {
    va_list args;
    va_start(args, format);
    text_vformat(err->text, sizeof err->text, format, args);
    va_end(args);
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
