/* The bodies of stb_image and stb_image_write, which are headers only: here and nowhere else. Only the formats that
 * mnistq promises are compiled in: every decoder that is left out is one that no hostile file can reach. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <zlib.h>

/* A deflate stream can claim a thousand times its size, so a small file could ask for all memory. No picture
 * within the limits of picture.h needs a block this large. Zeroed, because stb_image hands out the block as
 * pixels even where a short file did not fill it. */
enum { LARGEST_BLOCK = 1 << 30 }; /* bytes */

static void *bounded_calloc(size_t size) { return size <= LARGEST_BLOCK ? calloc(1, size ? size : 1) : NULL; }

static void *bounded_realloc(void *block, size_t size) {
    return size <= LARGEST_BLOCK ? realloc(block, size ? size : 1) : NULL;
}

/* data[size] as zlib packs it, *packed bytes, to be freed; NULL when out of memory, where stb_image_write's own packer
 * aborts. */
static unsigned char *pack(unsigned char *data, int size, int *packed, int level) {
    uLongf room = compressBound((uLong)size);
    unsigned char *to = malloc(room);
    if (to && compress2(to, &room, data, (uLong)size, level) == Z_OK) {
        *packed = (int)room;
        return to;
    }
    free(to);
    return NULL;
}

#define STBIW_ZLIB_COMPRESS pack
#define STBI_MALLOC(size) bounded_calloc(size)
#define STBI_REALLOC(block, size) bounded_realloc(block, size)
#define STBI_FREE(block) free(block)
#define STBI_ONLY_PNG
#define STBI_ONLY_JPEG
#define STBI_ONLY_BMP
#define STBI_ONLY_PNM
#define STBI_NO_STDIO
#define STBI_NO_LINEAR
#define STBI_WRITE_NO_STDIO

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#define STB_IMAGE_IMPLEMENTATION
#include <stb/stb_image.h>
#define STB_IMAGE_WRITE_IMPLEMENTATION
#include <stb/stb_image_write.h>
#pragma GCC diagnostic pop
