/* A C header of `mnistq export` on the images of images.h: self_test, then a letter for each class ('a' is 0). With an
 * operating system, or on a bare Cortex-M under qemu, which prints through semihosting. MODEL_H names the header. */
#include MODEL_H
#include "images.h" /* static const uint8_t images[COUNT][INPUTS] */

#if __STDC_HOSTED__
#include <stdio.h>
static void put(const char *text) { fputs(text, stdout); }
#define MAIN int main(void)
#define END(status) return status
#else
static int call(int number, const void *argument) {
    register int r0 __asm__("r0") = number;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}
static void put(const char *text) { call(4, text); } /* SYS_WRITE0 */
static void reset(void);
__attribute__((section(".vectors"), used)) static void (*const vectors[])(void) = {(void (*)(void))0x20100000, reset};
#define MAIN static void reset(void)
#define END(status) call(0x18, (const void *)((status) ? 0x20023 : 0x20026)) /* SYS_EXIT: an error, or done */
#endif

MAIN {
    static char line[sizeof images / sizeof *images + 2];
    uint32_t i, count = sizeof images / sizeof *images;
    for (i = 0; i < count; i++) line[i] = (char)('a' + predict(images[i]));
    line[count] = '\n';
    put(line);
    END(self_test());
}
