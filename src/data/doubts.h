/* Reasons to doubt the answer to a picture, as a set of bits: some are seen in the picture (data/picture.h), some in
 * the logits. A caller shows the text of each. */
#ifndef DATA_DOUBTS_H
#define DATA_DOUBTS_H

enum doubt {
    DOUBT_RIM,       /* picture: the digit reaches the picture's rim */
    DOUBT_PARTS,     /* picture: parts lie apart, and all were taken as one digit */
    DOUBT_LEFT_OUT,  /* picture: something that could be part of the digit was left out */
    DOUBT_WIDE,      /* picture: wider than 98 of 100 digits of MNIST are */
    DOUBT_CLOSE,     /* logits: the two best are within a step of each other */
    DOUBT_UNCERTAIN, /* logits: the best class has less than half of the probability */
    DOUBTS
};

/* One sentence each, without a full stop: for (i = 0; i < DOUBTS; i++) if (doubts >> i & 1) puts(doubt_texts[i]). */
extern const char *const doubt_texts[DOUBTS];

/* DOUBT_CLOSE and DOUBT_UNCERTAIN of logits [classes]; step: the scale of an integer model's logits, 0 of others. */
unsigned answer_doubts(const float *logits, int classes, float step);

#endif
