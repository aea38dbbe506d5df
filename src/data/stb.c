/* The bodies of stb_image and stb_image_write, which are headers only: here and nowhere else. Only BMP and
 * PNM are compiled in, where its decoder stays within its buffers: no hostile file reaches the others. */
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/* No picture within the limits of picture.h needs a block this large. Zeroed, because stb_image hands out the block as
 * pixels even where a short file did not fill it. */
enum { LARGEST_BLOCK = 1 << 30 }; /* bytes */

static void *bounded_calloc(size_t size) { return size <= LARGEST_BLOCK ? calloc(1, size ? size : 1) : NULL; }

/* stb_image_write goes on with NULL when memory is short: it is left from here instead, and what it holds is lost. */
static _Thread_local jmp_buf out_of_memory;

static void *or_leave(void *block) {
    if (!block) longjmp(out_of_memory, 1);
    return block;
}

#define STBIW_MALLOC(size) or_leave(malloc(size))
#define STBIW_REALLOC(block, size) or_leave(realloc(block, size))
#define STBIW_FREE(block) free(block)
#define STBI_MALLOC(size) bounded_calloc(size)
#define STBI_REALLOC(block, size) realloc(block, size)
#define STBI_FREE(block) free(block)
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

int stb_write_png(stbi_write_func *write, void *stream, int width, int height, const uint8_t *gray) {
    return setjmp(out_of_memory) == 0 && stbi_write_png_to_func(write, stream, width, height, 1, gray, width);
}
