/* The page that follows one image through the integer engine, and its worksheet. */
#ifndef STUDIES_TRACE_PAGE_H
#define STUDIES_TRACE_PAGE_H

#include <stdio.h>

#include "studies/trace_steps.h"

struct trace_page {
    const char *model, *fp32, *data, *command;
    int row; /* the pixel row shown in full; -1: the one that adds most */
};

/* key NULL: with all numbers; else a worksheet with blanks, and the answers in key. */
void trace_print(const struct trace *t, const struct trace_page *page, FILE *out, FILE *key);

#endif
