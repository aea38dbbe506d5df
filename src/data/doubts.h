/* Reasons to doubt the answer to a picture, as a set of bits: some are seen in the picture (data/picture.h), some in
 * the logits. A caller shows the text of each. */
#ifndef DATA_DOUBTS_H
#define DATA_DOUBTS_H

enum doubt {
    DOUBT_RIM,       /* picture: the digit reaches the picture's rim */
    DOUBT_PARTS,     /* picture: parts lie apart, and all were taken as one digit */
    DOUBT_LEFT_OUT,  /* picture: something that could be part of the digit was left out */
    DOUBT_WIDE,      /* picture: wider than 99 of 100 digits of MNIST are */
    DOUBT_CLOSE,     /* logits: the two best are within a step of each other */
    DOUBT_UNCERTAIN, /* logits: the best class has less than half of the probability */
    DOUBTS,
    DOUBT_BROAD = DOUBTS /* not shown; picture: wider than high, which answer_doubts takes for DOUBT_WIDE if need be */
};

/* One sentence each, without a full stop: for (i = 0; i < DOUBTS; i++) if (doubts >> i & 1) puts(doubt_texts[i]). */
extern const char *const doubt_texts[DOUBTS];

/* The picture's doubts, and those of logits [classes]; step: the scale of an integer model's logits, 0 of others. A
 * picture that is wider than high and has no answer of four fifths of the probability gets DOUBT_WIDE, too: two digits
 * that touch look like no digit to the model. */
unsigned answer_doubts(unsigned picture, const float *logits, int classes, float step);

#endif
