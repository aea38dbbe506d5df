#include "data/doubts.h"

#include <math.h>

const char *const doubt_texts[DOUBTS] = {
    [DOUBT_RIM] = "ink reaches the picture's rim: part of the digit may be missing",
    [DOUBT_PARTS] = "several parts lie apart: they are taken as one digit",
    [DOUBT_LEFT_OUT] = "something beside the digit, or through it, is left out: it may be part of the digit",
    [DOUBT_WIDE] = "it is wider than most digits: there may be more than one",
    [DOUBT_CLOSE] = "the two likeliest answers are within one step of the logits",
    [DOUBT_UNCERTAIN] = "no answer has half of the probability",
};

unsigned answer_doubts(unsigned picture, const float *logits, int classes, float step) {
    int best = 0, second = -1;
    double sum = 0;
    for (int j = 1; j < classes; j++)
        if (logits[j] > logits[best]) second = best, best = j;
        else if (second < 0 || logits[j] > logits[second]) second = j;
    for (int j = 0; j < classes; j++) sum += exp((double)logits[j] - (double)logits[best]);
    /* 1.5: logits one code apart differ by one step, give or take the rounding of fp32 */
    unsigned close = logits[best] - logits[second] <= 1.5f * step;
    unsigned uncertain = sum > 2;
    unsigned wide = (picture >> DOUBT_BROAD & 1) && sum > 1 / 0.8;
    return (picture & ~(1u << DOUBT_BROAD)) | wide << DOUBT_WIDE | close << DOUBT_CLOSE | uncertain << DOUBT_UNCERTAIN;
}
