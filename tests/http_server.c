/* A small HTTP/1.1 server for the tests of scripts/fetch_mnist.sh: the files of one folder on 127.0.0.1,
 * and the faults that a download may meet. One connection at a time, one request per connection.
 * Prints its port on stdout, and on stderr a line per request: METHOD NAME RANGE STATUS BODY-BYTES-SENT. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

enum { REQUEST_MAX = 8192, CHUNK = 16384, CLIENT_SECONDS = 5 };

typedef struct {
    int folder;          /* descriptor of the folder that is served */
    const char *corrupt; /* name of the file in which the middle byte is flipped, or NULL */
    const char *missing; /* name that is answered with 404, or NULL */
    bool no_range;       /* answer 200 and the whole file, whatever the Range */
    long long cut;       /* body bytes after which the connection is closed, or -1 */
    long cut_times;      /* how many more responses are cut */
} server;

typedef struct {
    char method[8];
    char name[256];
    long long start; /* of the Range, or -1 without one */
    long long end;   /* last byte, or LLONG_MAX */
} request;

static const char usage[] = "usage: http_server [options] FOLDER\n"
                            "  --port N         listen on this port (default 0: any; the port is printed)\n"
                            "  --seconds N      exit by itself after so long (default 60)\n"
                            "  --cut BYTES      close the connection after so many bytes of a body\n"
                            "  --cut-times N    ... only for the first N bodies longer than that (default: all)\n"
                            "  --corrupt NAME   flip the bits of the byte in the middle of this file\n"
                            "  --missing NAME   answer 404 for this file\n"
                            "  --no-range       ignore Range\n";

static void on_alarm(int signal_number) {
    (void)signal_number;
    _exit(0);
}

/* All of the n bytes, or false: the client went away or stalls. */
static bool send_all(int client, const char *bytes, size_t n) {
    while (n > 0) {
        ssize_t sent = send(client, bytes, n, 0);
        if (sent <= 0) return false;
        bytes += sent;
        n -= (size_t)sent;
    }
    return true;
}

/* Reads up to the empty line that ends the headers. */
static bool read_request(int client, char text[REQUEST_MAX]) {
    size_t n = 0;
    while (n < REQUEST_MAX - 1) {
        ssize_t got = recv(client, text + n, REQUEST_MAX - 1 - n, 0);
        if (got <= 0) return false;
        n += (size_t)got;
        text[n] = '\0';
        if (strstr(text, "\r\n\r\n")) return true;
    }
    return false;
}

/* A name is one path component of plain characters that does not start with a dot: nothing else is served. */
static bool name_is_plain(const char *name) {
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    return name[0] != '\0' && name[0] != '.' && name[strspn(name, plain)] == '\0';
}

static bool parse_request(const char *text, request *r) {
    *r = (request){.start = -1, .end = LLONG_MAX};
    if (sscanf(text, "%7s /%255s", r->method, r->name) != 2) return false;
    for (const char *line = strstr(text, "\r\n"); line; line = strstr(line + 2, "\r\n")) {
        static const char header[] = "\r\nRange: bytes=";
        if (strncasecmp(line, header, sizeof header - 1) != 0) continue;
        if (sscanf(line + sizeof header - 1, "%18lld-%18lld", &r->start, &r->end) < 1 || r->start < 0 ||
            r->end < r->start)
            r->start = -1; /* bytes=-N and nonsense: a server may ignore a Range */
    }
    return name_is_plain(r->name);
}

static int open_file(const server *s, const request *r, long long *size) {
    if (s->missing && strcmp(r->name, s->missing) == 0) return -1;
    int file = openat(s->folder, r->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    struct stat st;
    if (file < 0) return -1;
    if (fstat(file, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(file);
        return -1;
    }
    *size = (long long)st.st_size;
    return file;
}

/* Sends bytes [start, start + n) of the file; returns how many went out. */
static long long send_body(int client, int file, long long start, long long n, long long flip) {
    char chunk[CHUNK];
    long long done = 0;
    while (done < n) {
        size_t want = n - done < CHUNK ? (size_t)(n - done) : CHUNK;
        ssize_t got = pread(file, chunk, want, (off_t)(start + done));
        if (got <= 0) break;
        long long at = flip - (start + done);
        if (at >= 0 && at < got) chunk[at] = (char)~chunk[at];
        if (!send_all(client, chunk, (size_t)got)) break;
        done += got;
    }
    return done;
}

static void respond(server *s, int client) {
    char text[REQUEST_MAX], head[512], range[128] = "";
    request r;
    long long size = 0, first = 0, n = 0, sent = 0;
    int status = 200, file = -1;

    if (!read_request(client, text)) return;
    if (!parse_request(text, &r)) {
        status = 400;
    } else if (strcmp(r.method, "GET") != 0 && strcmp(r.method, "HEAD") != 0) {
        status = 405;
    } else if ((file = open_file(s, &r, &size)) < 0) {
        status = 404;
    } else if (r.start < 0 || s->no_range) {
        n = size;
    } else if (r.start >= size) {
        status = 416;
        snprintf(range, sizeof range, "Content-Range: bytes */%lld\r\n", size);
    } else {
        long long last = r.end < size ? r.end : size - 1;
        status = 206;
        first = r.start;
        n = last - first + 1;
        snprintf(range, sizeof range, "Content-Range: bytes %lld-%lld/%lld\r\n", first, last, size);
    }
    int length = snprintf(head, sizeof head,
                          "HTTP/1.1 %d %s\r\nContent-Type: application/octet-stream\r\nContent-Length: %lld\r\n"
                          "%s%sConnection: close\r\n\r\n",
                          status, status < 300 ? "OK" : "Error", n, s->no_range ? "" : "Accept-Ranges: bytes\r\n",
                          range);
    if (send_all(client, head, (size_t)length) && strcmp(r.method, "HEAD") != 0 && n > 0) {
        if (s->cut >= 0 && s->cut < n && s->cut_times > 0) {
            s->cut_times--;
            n = s->cut;
        }
        long long flip = s->corrupt && strcmp(r.name, s->corrupt) == 0 ? size / 2 : -1;
        sent = send_body(client, file, first, n, flip);
    }
    if (file >= 0) close(file);
    char asked[32] = "-";
    if (r.start >= 0) snprintf(asked, sizeof asked, "from=%lld", r.start);
    fprintf(stderr, "%s %s %s %d %lld\n", r.method, status == 400 ? "?" : r.name, asked, status, sent);
}

static int listen_on(long port) {
    int s = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t n = sizeof a;
    if (s < 0 || setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(s, (struct sockaddr *)&a, sizeof a) != 0 || listen(s, 16) != 0 ||
        getsockname(s, (struct sockaddr *)&a, &n) != 0) {
        fprintf(stderr, "http_server: port %ld: %s\n", port, strerror(errno));
        exit(1);
    }
    printf("%d\n", ntohs(a.sin_port));
    fflush(stdout);
    return s;
}

static long long number(const char *text, long long max) {
    char *end;
    errno = 0;
    long long n = strtoll(text, &end, 10);
    if (end == text || *end || errno || n < 0 || n > max) {
        fprintf(stderr, "http_server: %s: not a number from 0 to %lld\n", text, max);
        exit(2);
    }
    return n;
}

int main(int argc, char **argv) {
    static const struct option options[] = {
        {"port", required_argument, NULL, 'p'},    {"seconds", required_argument, NULL, 's'},
        {"cut", required_argument, NULL, 'c'},     {"cut-times", required_argument, NULL, 't'},
        {"corrupt", required_argument, NULL, 'x'}, {"missing", required_argument, NULL, 'm'},
        {"no-range", no_argument, NULL, 'n'},      {NULL, 0, NULL, 0},
    };
    server s = {.cut = -1, .cut_times = LONG_MAX};
    long port = 0, seconds = 60;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'p': port = (long)number(optarg, 65535); break;
        case 's': seconds = (long)number(optarg, 86400); break;
        case 'c': s.cut = number(optarg, LLONG_MAX); break;
        case 't': s.cut_times = (long)number(optarg, LONG_MAX); break;
        case 'x': s.corrupt = optarg; break;
        case 'm': s.missing = optarg; break;
        case 'n': s.no_range = true; break;
        default: fputs(usage, stderr); return 2;
        }
    }
    if (optind != argc - 1 || seconds == 0) {
        fputs(usage, stderr);
        return 2;
    }
    s.folder = open(argv[optind], O_RDONLY | O_DIRECTORY);
    if (s.folder < 0) {
        fprintf(stderr, "http_server: %s: %s\n", argv[optind], strerror(errno));
        return 1;
    }
    signal(SIGPIPE, SIG_IGN);
    signal(SIGALRM, on_alarm);
    alarm((unsigned)seconds);
    int listener = listen_on(port);
    for (;;) {
        int client = accept(listener, NULL, NULL);
        if (client < 0) continue;
        struct timeval patience = {.tv_sec = CLIENT_SECONDS};
        setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        setsockopt(client, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
        respond(&s, client);
        close(client);
    }
}
