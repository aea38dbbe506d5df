/* The pitfalls of the lesson: each is provoked on a network, measured and repaired. */
#ifndef STUDIES_PITFALLS_H
#define STUDIES_PITFALLS_H

#include "studies/variants.h"

extern const struct part pitfall_outlier, pitfall_outlier_seeds; /* one weight sets the scale for all */
extern const struct part pitfall_calibration, pitfall_calibration_brief, pitfall_symmetric; /* ranges that do not fit */
extern const struct part pitfall_accumulator, pitfall_quiet; /* mistakes in the engine, of model/faults.h */

#endif
