/* JPEG by libjpeg-turbo, with what it leaves to its caller: no damage without a word, and a bound on work. */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/decoders.h"
#include "data/picture.h"

#include <jerror.h>
#include <jpeglib.h>

/* Each scan of a progressive JPEG visits the whole picture, and one of a few bytes can claim to be a scan. The largest
 * picture may have 16 of them (encoders write about 10), smaller ones more, but none more than MOST_SCANS. */
static const double MOST_VISITS = 16.0 * PICTURE_MAX_PIXELS;
enum { MOST_SCANS = 500, MOST_MEMORY = 1 << 29 /* bytes */ };

/* libjpeg asks its caller not to return from an error: it is left by longjmp. */
struct decoder {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    jmp_buf left;
    struct error *err;
};

static void leave(j_common_ptr jpeg) {
    struct decoder *d = jpeg->client_data;
    char text[JMSG_LENGTH_MAX];
    d->errors.format_message(jpeg, text);
    fail(d->err,
         d->errors.msg_code == JERR_OUT_OF_MEMORY ? "out of memory to decode the picture"
                                                  : "the picture is a damaged JPEG, or one that cannot be read: %s",
         text);
    longjmp(d->left, 1);
}

/* libjpeg goes on where coded pixels are missing, and makes them gray: a wrong digit without a word. What does not
 * touch the pixels may pass. */
static void take_message(j_common_ptr jpeg, int level) {
    struct decoder *d = jpeg->client_data;
    if (level >= 0) return; /* no warning */
    switch (d->errors.msg_code) {
    case JWRN_EXTRANEOUS_DATA:
    case JWRN_TOO_MUCH_DATA:
    case JWRN_ADOBE_XFORM:
    case JWRN_BOGUS_ICC:
    case JWRN_JFIF_MAJOR: return;
    case JWRN_JPEG_EOF:
        fail(d->err, "the picture ends too early (a JPEG's end marker expected, none found)");
        longjmp(d->left, 1);
    default: leave(jpeg);
    }
}

static void bound_work(j_common_ptr jpeg) {
    struct decoder *d = jpeg->client_data;
    int scans = d->jpeg.input_scan_number;
    if (scans <= MOST_SCANS && (double)scans * d->jpeg.image_width * d->jpeg.image_height <= MOST_VISITS) return;
    fail(d->err, "a JPEG of %u x %u pixels in fewer scans expected, found more than %d", d->jpeg.image_width,
         d->jpeg.image_height, scans - 1);
    longjmp(d->left, 1);
}

/* The orientation that a camera notes in a JPEG's Exif block tiff[size], 1 (upright) to 8. */
static int exif_orientation(const unsigned char *tiff, size_t size) {
    if (size < 8) return 1;
    bool little = tiff[0] == 'I'; /* |II or MM|42, 2 bytes|offset of the directory 4|... */
    size_t directory = number(tiff + 4, 4, little);
    if (directory > size - 2) return 1;
    size_t entries = number(tiff + directory, 2, little);
    for (size_t i = 0, at = directory + 2; i < entries && at + 12 <= size; i++, at += 12)
        if (number(tiff + at, 2, little) == 0x112) { /* |tag 2|type 2|count 4|value 2|0 2| */
            uint32_t value = number(tiff + at + 8, 2, little);
            return value >= 1 && value <= 8 ? (int)value : 1;
        }
    return 1;
}

/* Shades of one row of JCS_GRAYSCALE or of CMYK, which Adobe stores the other way round. */
static void take_row(const struct jpeg_decompress_struct *jpeg, const JSAMPLE *row, uint8_t *gray) {
    for (JDIMENSION x = 0; x < jpeg->output_width; x++) {
        const JSAMPLE *s = row + (size_t)x * (size_t)jpeg->output_components;
        unsigned flip = jpeg->saw_Adobe_marker ? 0 : 255;
        gray[2 * x] = *s;
        if (jpeg->output_components == 4) {
            unsigned key = s[3] ^ flip;
            gray[2 * x] = luma((s[0] ^ flip) * key / 255, (s[1] ^ flip) * key / 255, (s[2] ^ flip) * key / 255);
        }
        gray[2 * x + 1] = 255;
    }
}

static bool decode(struct decoder *d, const unsigned char *data, size_t size, struct pixels *out) {
    struct jpeg_decompress_struct *jpeg = &d->jpeg;
    jpeg_mem_src(jpeg, data, (unsigned long)size);
    jpeg_save_markers(jpeg, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(jpeg, TRUE);
    if (!pixels_create(jpeg->image_width, jpeg->image_height, out, d->err)) return false;
    for (jpeg_saved_marker_ptr m = jpeg->marker_list; m; m = m->next)
        if (m->data_length >= 6 && !memcmp(m->data, "Exif\0", 6))
            out->orientation = exif_orientation(m->data + 6, m->data_length - 6);
    bool four = jpeg->jpeg_color_space == JCS_CMYK || jpeg->jpeg_color_space == JCS_YCCK;
    jpeg->out_color_space = four ? JCS_CMYK : JCS_GRAYSCALE;
    jpeg_start_decompress(jpeg);
    JSAMPARRAY row = jpeg->mem->alloc_sarray((j_common_ptr)jpeg, JPOOL_IMAGE,
                                             jpeg->output_width * (JDIMENSION)jpeg->output_components, 1);
    while (jpeg->output_scanline < jpeg->output_height) {
        uint8_t *to = out->gray + (size_t)jpeg->output_scanline * (size_t)out->width * 2;
        jpeg_read_scanlines(jpeg, row, 1);
        take_row(jpeg, row[0], to);
    }
    jpeg_finish_decompress(jpeg); /* reads to the end marker */
    return true;
}

bool jpeg_decode(const unsigned char *data, size_t size, struct pixels *out, struct error *err) {
    struct decoder *d = calloc(1, sizeof *d);
    if (!d) return fail(err, "out of memory to decode the picture");
    d->err = err;
    d->jpeg.err = jpeg_std_error(&d->errors);
    d->errors.error_exit = leave;
    d->errors.emit_message = take_message;
    d->jpeg.client_data = d;
    bool ok = false;
    if (setjmp(d->left) == 0) {
        jpeg_create_decompress(&d->jpeg); /* keeps err and client_data */
        d->jpeg.mem->max_memory_to_use = MOST_MEMORY;
        d->progress.progress_monitor = bound_work;
        d->jpeg.progress = &d->progress;
        ok = decode(d, data, size, out);
    } else {
        ok = false;
    }
    jpeg_destroy_decompress(&d->jpeg);
    free(d);
    return ok;
}
